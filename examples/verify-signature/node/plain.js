// A callback receiver that verifies X-Callback-Signature. That header covers the
// body and nothing else: an old callback sent again passes, even with another
// webhook-id. To refuse it, see standard.js.
//
//     npm install && CALLBACK_SECRET=whsec_… PORT=8080 node plain.js
import { createHmac, timingSafeEqual } from "node:crypto";
import express from "express";

const secret = process.env.CALLBACK_SECRET;
if (!secret) throw new Error("set CALLBACK_SECRET");

function valid(body, signature = "") {
  // The key is the secret's whole text, whsec_ included.
  const want = Buffer.from("sha256=" + createHmac("sha256", secret).update(body).digest("hex"));
  const got = Buffer.from(signature);
  return got.length === want.length && timingSafeEqual(got, want);
}

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
    if (!valid(body, req.get("X-Callback-Signature"))) return res.status(401).send("bad signature");
    console.log(`task ${req.get("Callback-Task-Id")}: ${body.length} bytes`);
    res.sendStatus(204);
  })
  .listen(process.env.PORT);
