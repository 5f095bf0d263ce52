// TOKEN=$(campanile token --user 42) node examples/subscribe.mjs
import { connect } from "../static/campanile.js";

connect({
  url: `${process.env.HUB ?? "http://127.0.0.1:8400"}/notifications/stream`,
  token: process.env.TOKEN,
  onConnected: ({ userId }) => console.error(`listening for ${userId}`),
  onNotification: ({ severity, message }) => console.log(`[${severity}] ${message}`),
  onError: (error) => console.error(String(error.message ?? error)),
});
