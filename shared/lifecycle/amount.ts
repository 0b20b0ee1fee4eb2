// Money and tokens as they are added up. Pure.
import type { Allowance } from "../contracts/budget.ts";

/** Money in whole millionths of a dollar, so that sums come out even. */
export interface Amount {
  microUsd: number;
  tokens: number;
}

export const microUsd = (usd: number): number => Math.round(usd * 1e6);
export const usdOf = ({ microUsd }: Amount): number => microUsd / 1e6;
export const nothing = (): Amount => ({ microUsd: 0, tokens: 0 });
export const amountOf = ({ usd = 0, tokens = 0 }: Allowance): Amount => ({ microUsd: microUsd(usd), tokens });

/** Changes the sum, and hands it back. */
export function add(sum: Amount, { microUsd, tokens }: Amount, sign: 1 | -1): Amount {
  sum.microUsd += sign * microUsd;
  sum.tokens += sign * tokens;
  return sum;
}

/** A repository as money is kept by it: forges know no case. */
export const repositoryKey = (repository: string): string => repository.toLowerCase();
