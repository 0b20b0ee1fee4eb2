// What the routes about the fleet do: hosts, and what operators change while the mesh runs. They decide nothing.
import { z } from "zod";
import { askApi } from "../../shared/bus/ask.ts";
import { API } from "../../shared/contracts/api.ts";
import { type Handler, parse, parseBody, reply } from "./json.ts";

export const hosts: Handler = async ({ bus }, context) => reply(context, await askApi(bus, "hosts", {}));

export const costs: Handler = async ({ bus }, context) => {
  const request = parse(API.costs.request, context.req.query());
  return reply(context, request.ok ? await askApi(bus, "costs", request.value) : request);
};

export const config: Handler = async ({ bus }, context) => reply(context, await askApi(bus, "config", {}));

export const configure: Handler = async ({ bus }, context) => {
  const request = await parseBody(context, API.configure.request);
  return reply(context, request.ok ? await askApi(bus, "configure", request.value) : request);
};

/** What an operator wishes of the host in the path; the body has the rest. */
export const wish =
  (verb: "cordon" | "uncordon" | "drain"): Handler =>
  async ({ bus }, context) => {
    const body = await parseBody(context, z.record(z.string(), z.unknown()).default({}));
    if (!body.ok) return reply(context, body);
    const request = parse(API[verb].request, { ...body.value, hostId: context.req.param("id") });
    return reply(context, request.ok ? await askApi(bus, verb, request.value) : request);
  };

export const stop: Handler = async ({ bus }, context) => {
  const request = await parseBody(context, API.stop.request);
  return reply(context, request.ok ? await askApi(bus, "stop", request.value) : request);
};

/** Whether anything new may begin, in the whole fleet or for the repository in the body. */
export const pauseOrResume =
  (verb: "pause" | "resume"): Handler =>
  async ({ bus }, context) => {
    const request = await parseBody(context, API[verb].request.default({}));
    return reply(context, request.ok ? await askApi(bus, verb, request.value) : request);
  };
