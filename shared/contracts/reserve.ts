// Room on the bus that is held by what nobody reads, so that it can be given to the log when there is no other.
import { subject } from "./subject.ts";

export const reserveSubject = subject("mesh.reserve.{part}");
