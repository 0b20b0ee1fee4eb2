// An attempt's failure on its way to its outcome, thrown by whichever of its steps meets it.
import type { Failure } from "../../../shared/contracts/failure.ts";

export class Failed extends Error {
  readonly failure: Failure;
  constructor(failure: Failure) {
    super(failure.message);
    this.failure = failure;
  }
}
