// A callback receiver that verifies with the library of Standard Webhooks. The
// library takes the body for UTF-8 text: for binary or compressed ones see plain.js.
//
//     npm install && CALLBACK_SECRET=whsec_… PORT=8080 node standard.js
import express from "express";
import { Webhook } from "standardwebhooks";

const secret = process.env.CALLBACK_SECRET;
if (!secret) throw new Error("set CALLBACK_SECRET");
// For a secret without whsec_: new Webhook(Buffer.from(secret), { format: "raw" })
const webhook = new Webhook(secret);

// The bytes as they came, which are what is signed: express.raw() would
// decompress them.
async function readBody(req, limit = 10 << 20) {
  const chunks = [];
  let size = 0;
  for await (const chunk of req) {
    if ((size += chunk.length) > limit) throw Object.assign(new Error("body too large"), { status: 413 });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

express()
  .post("/", async (req, res) => {
    const body = await readBody(req);
    try {
      webhook.verify(body, req.headers, { jsonParse: false }); // not every callback is JSON
    } catch (err) {
      return res.status(401).send(err.message);
    }
    console.log(`task ${req.get("Callback-Task-Id")}, webhook ${req.get("webhook-id")}: ${body.length} bytes`);
    res.sendStatus(204);
  })
  .listen(process.env.PORT);
