// What a task may demand of a host's labels, and how people write it.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseConstraint } from "../../services/cli/tasks/constraint-text.ts";
import { Constraint, constraintInWords, constraintsOf, meets } from "../../shared/contracts/constraint.ts";

const host = { labels: { os: "linux", gpu: "", zone: "b" }, versions: { node: "24.1.0" } };

describe("a constraint", () => {
  it.each([
    ["os=linux", true],
    ["os=windows", false],
    ["rack=1", false],
    ["os!=windows", true],
    ["os!=linux", false],
    ["rack!=1", true],
    ["zone in (a, b)", true],
    ["zone in (a)", false],
    ["rack in (a)", false],
    ["gpu exists", true],
    ["gpu", true],
    ["rack exists", false],
    ["constructor exists", false],
    ["version.node=24.1.0", true],
    ["version.claude-code exists", false],
  ])("%s: %s", (text, holds) => {
    expect(meets(host, parseConstraint(text))).toBe(holds);
  });

  it("is the same after it was written out and read again", () => {
    const label = fc.stringMatching(/^[a-z][a-z0-9.-]{0,20}$/);
    const value = fc.stringMatching(/^[a-z0-9.-]{1,20}$/);
    const any = fc.oneof(
      fc.record({
        label,
        operator: fc.constantFrom("=", "!="),
        values: fc.array(value, { minLength: 1, maxLength: 1 }),
      }),
      fc.record({
        label,
        operator: fc.constant("in"),
        values: fc.array(value, { minLength: 1, maxLength: 5 }),
      }),
      fc.record({ label, operator: fc.constant("exists"), values: fc.constant([]) }),
    );
    fc.assert(
      fc.property(any, (drawn) => {
        const constraint = Constraint.parse(drawn);
        expect(parseConstraint(constraintInWords(constraint))).toEqual(constraint);
      }),
    );
  });

  it("and its opposite never hold both, and one of them does", () => {
    const word = fc.constantFrom("a", "b", "c");
    fc.assert(
      fc.property(fc.dictionary(word, word), word, word, (labels, label, value) => {
        const holds = (operator: "=" | "!=") =>
          meets({ labels, versions: {} }, { label, operator, values: [value] });
        expect(holds("=")).toBe(!holds("!="));
      }),
    );
  });

  it("is made of every label that a request names", () => {
    expect(constraintsOf({ labels: { os: "linux" }, constraints: [parseConstraint("gpu")] })).toEqual([
      { label: "os", operator: "=", values: ["linux"] },
      { label: "gpu", operator: "exists", values: [] },
    ]);
    expect(constraintsOf({ labels: {} })).toBeNull();
  });
});
