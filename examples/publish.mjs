// TOKEN=$(campanile token --user backend --scope publish) node examples/publish.mjs 42 "Your order has left the house"
const [user, message] = process.argv.slice(2);
const response = await fetch(`${process.env.HUB ?? "http://127.0.0.1:8400"}/notifications`, {
  method: "POST",
  headers: { authorization: `Bearer ${process.env.TOKEN}`, "content-type": "application/json" },
  body: JSON.stringify({ targetUserId: user, message, severity: "low" }),
});
console.log(response.status, await response.text());
