// SPDX-License-Identifier: GPL-3.0-or-later
// Copyright (C) 2026 the contributors
// Asks Netlify's own matcher (npm: netlify-redirector, in the folder that is argument 1). In: one JSON line for each
// set of rules, {rules, requests: [{scheme, host, path, query}]}. Out: one line of answers for each, null for no match.
const redirector = require(process.argv[2]);
const lines = require('readline').createInterface({input: process.stdin});
const nothing = () => '';
(async () => {
  for await (const line of lines) {
    const {rules, requests} = JSON.parse(line);
    const matcher = await redirector.parsePlain(rules, {});
    const answers = requests.map((request) => {
      const found = matcher.match({...request, headers: {}, cookieValues: {}, getHeader: nothing, getCookie: nothing});
      return found && {from: found.from, to: found.to, status: found.status, force: found.force};
    });
    if (matcher.delete) matcher.delete();
    process.stdout.write(JSON.stringify(answers) + '\n');
  }
})();
