// SPDX-License-Identifier: GPL-3.0-or-later
// Copyright (C) 2026 the contributors
// One row of a table; what the server said is text, never markup.
export function row(...cells) {
  const line = document.createElement("tr");
  for (const text of cells) {
    const cell = line.insertCell();
    cell.textContent = text;
  }
  return line;
}
