// SPDX-License-Identifier: GPL-3.0-or-later
// Copyright (C) 2026 the contributors
// Asks the server that sent this module a few things, and shows what it said. A module is only run if it was sent as
// JavaScript: that this runs at all is the first answer.
import { row } from "./rows.mjs";

const file = new URL("../numbers.txt", import.meta.url);
const ask = (target, headers = {}, method = "GET") => fetch(target, { method, headers, cache: "no-store" });

const requests = document.querySelector("#requests");
const headers = document.querySelector("#headers");
requests.replaceChildren();
headers.replaceChildren();

function tell(asked, answer, expected, meaning) {
  const odd = answer.status !== expected;
  const line = row(asked, String(answer.status), odd ? `${expected} was expected.` : meaning);
  line.classList.toggle("odd", odd);
  requests.append(line);
}

const whole = await ask(file);
const bytes = (await whole.arrayBuffer()).byteLength;
const kilobytes = (count) => `${(count / 1024).toFixed(1)} KB`;
const timing = performance.getEntriesByName(file.href).at(-1);
const travelled = timing?.encodedBodySize ? `, ${kilobytes(timing.encodedBodySize)} on the way` : "";
tell("GET numbers.txt", whole, 200, `${kilobytes(bytes)}${travelled}`);

tell("The same again, If-None-Match", await ask(file, { "If-None-Match": whole.headers.get("ETag") }), 304,
  "Nothing new: no body is sent.");

const part = await ask(file, { Range: "bytes=0-12" });
tell("Range: bytes=0-12", part, 206, `“${(await part.text()).trim().slice(0, 40)}”`);

tell("Range: bytes=9999999-", await ask(file, { Range: "bytes=9999999-" }), 416, "There is no such part.");
tell("HEAD", await ask(file, {}, "HEAD"), 200, "The headers alone.");
tell("GET no-such-page", await ask(new URL("../no-such-page", import.meta.url)), 404, "With the site’s own page.");
tell("DELETE", await ask(file, {}, "DELETE"), 405, "A site is for reading.");

for (const [name, value] of [...whole.headers].sort()) headers.append(row(name, value));

const { instance } = await WebAssembly.instantiateStreaming(fetch(new URL("add.wasm", import.meta.url)));
document.querySelector("#sum").textContent = `Compiled while it arrived: 19 + 23 = ${instance.exports.add(19, 23)}.`;
