// What the server of such an application does once an order has been stored: a POST to the one path. The key is the one
// thing that is new in it.

export async function notify(baseUrl, key, form) {
  const response = await fetch(`${baseUrl}/api/notifications/ws`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${key}` },
    body: JSON.stringify({ action: "create-and-notify", timestamp: Date.now(), type: "notification", ...form }),
  });
  return { status: response.status, body: await response.json() };
}
