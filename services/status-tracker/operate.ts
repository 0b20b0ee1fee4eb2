// What operators change while the mesh runs, answered at their buckets: nothing is stored that a service would refuse.
import { askAll } from "../../shared/bus/ask.ts";
import { entriesOf, putEntry } from "../../shared/bus/bucket.ts";
import type { Bus } from "../../shared/bus/connect.ts";
import { CONFIG, HOST_WISHES, PAUSES } from "../../shared/bus/streams.ts";
import { DEFAULT_SETTINGS, viewSettings, withSetting } from "../../shared/config/settings.ts";
import type { ApiReply, ApiRequest, SettingView } from "../../shared/contracts/api.ts";
import { type Answer, answer, refuse } from "../../shared/contracts/failure.ts";
import { type Pause, pauseKey } from "../../shared/contracts/pause.ts";
import { ALL_INSTANCES, StoppingService, stopSubject } from "../../shared/contracts/service.ts";
import type { HostWish } from "../../shared/contracts/wish.ts";
import type { Presence } from "./presence.ts";
import type { Queries } from "./queries.ts";

type Operation = "config" | "configure" | "cordon" | "uncordon" | "drain" | "pause" | "resume" | "stop";

export function operations(bus: Bus, presence: Presence): Pick<Queries, Operation> {
  const settings = async (): Promise<SettingView[]> => viewSettings(await entriesOf(bus, CONFIG));

  async function wish(hostId: string, wished: HostWish | null): Promise<Answer<ApiReply<"cordon">>> {
    // One that is away may be wished out of the way, and one that has left must not stay so for ever.
    if (wished !== null && !presence.hosts.has(hostId))
      return refuse("not_found", `no host ${hostId} has been heard of`);
    await putEntry(bus, HOST_WISHES, hostId, wished ?? undefined);
    return answer({ hostId, wish: wished });
  }

  async function hold(repository: string | null, pause: Pause | null): Promise<Answer<ApiReply<"pause">>> {
    await putEntry(bus, PAUSES, pauseKey(repository), pause ?? undefined);
    return answer({ repository, pause });
  }

  async function stop({
    service,
    instance = ALL_INSTANCES,
    deadlineMs,
  }: ApiRequest<"stop">): Promise<Answer<ApiReply<"stop">>> {
    const stopping = await askAll(
      bus,
      stopSubject.build({ service, instance }),
      { deadlineMs },
      StoppingService,
    );
    return stopping.length > 0
      ? answer({ stopping })
      : refuse(
          "not_found",
          `no ${service}${instance === ALL_INSTANCES ? "" : ` ${instance}`} answers; those of \`mesh up\` end with it`,
        );
  }

  return {
    stop,
    cordon: ({ hostId, reason = null }) => wish(hostId, { kind: "cordoned", reason, deadlineMs: null }),
    uncordon: ({ hostId }) => wish(hostId, null),
    drain: ({ hostId, reason = null, deadlineMs }) => wish(hostId, { kind: "draining", reason, deadlineMs }),
    pause: ({ repository = null, reason = null }) => hold(repository, { repository, reason }),
    resume: ({ repository = null }) => hold(repository, null),
    config: async () => answer({ data: await settings() }),
    async configure({ key, value }) {
      const changed = withSetting(DEFAULT_SETTINGS, key, value);
      if (!changed.ok) return refuse("bad_request", changed.problem);
      await putEntry(bus, CONFIG, key, value);
      const view = (await settings()).find((setting) => setting.key === key);
      return view === undefined ? refuse("internal", `${key} was not stored`) : answer(view);
    },
  };
}
