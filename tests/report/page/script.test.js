"use strict";
// What page.js works out without a page; `node --test` runs it, through test_script.py.
const assert = require("node:assert");
const { test } = require("node:test");
const { FORMATS, SHAPES, compareCells, matches, scale, ticks } = require("../../../dynbench/report/page/assets/page.js");

test("ticks are round and inside", () => {
  assert.deepStrictEqual(ticks(83.1, 89.9, false), [84, 86, 88]);
  assert.deepStrictEqual(ticks(0.07, 0.31, false), [0.1, 0.15, 0.2, 0.25, 0.3]);
  assert.deepStrictEqual(ticks(1, 10000, true), [1, 10, 100, 1000, 10000]);
  assert.deepStrictEqual(ticks(0.8, 12, true), [1, 2, 5, 10]);
  for (const [low, high] of [[0.9, 1.2], [3, 4], [1e-3, 2e9], [40, 41]]) {
    const found = ticks(low, high, true);
    assert.ok(found.length >= 2 && found.length < 15, `${low} to ${high}: ${found}`);
    assert.ok(found.every((one) => one >= low && one <= high * 1.0001));
  }
});

test("a scale leaves room at both ends, also where there is one value or none", () => {
  for (const values of [[1, 2, 3], [7], [0], [], [-1, 5]]) {
    for (const log of [false, true]) {
      const { place, ticks: found } = scale(values, 0, 100, log);
      for (const value of values.filter((one) => !log || one > 0)) {
        assert.ok(place(value) > 0 && place(value) < 100, `${values} ${log} ${value} ${place(value)}`);
      }
      assert.ok(found.every(Number.isFinite));
    }
  }
  assert.ok(scale([1, 10], 100, 0, false).place(10) < scale([1, 10], 100, 0, false).place(1)); // upwards
});

test("numbers are ordered as numbers, words as words, and what is empty is last either way", () => {
  const number = (value) => ({ text: String(value), number: value });
  const word = (text) => ({ text, number: null });
  const ordered = (cells, down) => cells.toSorted((one, other) => compareCells(one, other, down)).map((cell) => cell.text);
  assert.deepStrictEqual(ordered([number(10), word(""), number(9)], false), ["9", "10", ""]);
  assert.deepStrictEqual(ordered([number(9), word(""), number(10)], true), ["10", "9", ""]);
  assert.deepStrictEqual(ordered([word("l1=0.1"), word("b"), word("l1=0.03"), word("b 2"), word("l1=1e-05")], false), ["b", "b 2", "l1=1e-05", "l1=0.03", "l1=0.1"]);
});

test("every word that is looked for has to be there, in any case and order", () => {
  assert.ok(matches("lc_net l1_layer=0.1 audited", "AUDITED lc"));
  assert.ok(matches("anything", ""));
  assert.ok(!matches("lc_net audited", "lc simulated"));
});

const ROWS = [["name", "top-1, %"], ['say "a, b"', "90.00 ±0.10"], ["a|b <i> \\ l1_layer=5% $x^2 #~", "1"]];

test("CSV quotes what has to be quoted", () => {
  assert.strictEqual(FORMATS.csv(ROWS.slice(0, 2)), 'name,"top-1, %"\n"say ""a, b""",90.00 ±0.10\n');
});

test("Markdown has no bar and no tag within a cell", () => {
  assert.strictEqual(FORMATS.markdown(ROWS).split("\n")[3], "| a\\|b &lt;i> \\\\ l1_layer=5% $x^2 #~ | 1 |");
});

test("LaTeX takes no letter of a cell for a command", () => {
  const lines = FORMATS.latex(ROWS).split("\n");
  assert.strictEqual(lines[4], 'say "a, b" & 90.00 $\\pm$0.10 \\\\');
  assert.strictEqual(lines[5], "a|b <i> \\textbackslash{} l1\\_layer=5\\% \\$x\\textasciicircum{}2 \\#\\textasciitilde{} & 1 \\\\");
});

test("shapes are eight, and differ", () => {
  assert.strictEqual(new Set(SHAPES).size, 8);
});
