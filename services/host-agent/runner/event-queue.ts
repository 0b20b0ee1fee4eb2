// Events on their way from whoever hears them to the one who reads them, in order and at the reader's pace.
import type { AgentEvent } from "../../../shared/contracts/agent-event.ts";

export interface EventQueue {
  readonly events: AsyncIterable<AgentEvent>;
  /** Nothing once it is closed. */
  emit(event: AgentEvent): void;
  close(): void;
}

export function eventQueue(): EventQueue {
  let controller: ReadableStreamDefaultController<AgentEvent> | null = null;
  const events = new ReadableStream<AgentEvent>({
    start: (given) => {
      controller = given;
    },
  });
  return {
    events,
    emit: (event) => controller?.enqueue(event),
    close() {
      controller?.close();
      controller = null;
    },
  };
}
