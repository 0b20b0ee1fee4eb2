# An orchestrator in another language, written by docs/protocol.md alone: submits a task by the API and follows it to
# its end; puts another one on the log itself, and cancels it. Prints what it has seen as one line of JSON each.
import asyncio
import json
import os
import sys

import nats
from nats.js.errors import APIError

ENDS = {"succeeded", "failed", "rejected", "cancelled"}


def tell(what, value):
    print(json.dumps({what: value}), flush=True)


async def ask(nc, verb, request):
    reply = await nc.request(f"mesh.api.{verb}", json.dumps(request).encode(), timeout=10)
    return json.loads(reply.data)


async def follow(js, task_id, until):
    """Facts of the task, from its first, up to one of these kinds: that one's sequence."""
    subscription = await js.subscribe(f"mesh.task.{task_id}.>", ordered_consumer=True)
    while True:
        message = await subscription.next_msg(timeout=60)
        _, _, _, kind, speaker = message.subject.split(".")
        tell("fact", {"taskId": task_id, "kind": kind, "speaker": speaker, "body": json.loads(message.data)})
        if kind in until:
            await subscription.unsubscribe()
            return message.metadata.sequence.stream


async def append_request(js, task_id, request):
    """Without the API: stored when acknowledged, refused by the server when the id is taken."""
    guard = {
        "Nats-Expected-Last-Subject-Sequence": "0",
        "Nats-Expected-Last-Subject-Sequence-Subject": f"mesh.task.{task_id}.>",
    }
    body = json.dumps({**request, "after": 0}).encode()
    await js.publish(f"mesh.task.{task_id}.requested.high", body, headers=guard)


async def main(request):
    nc = await nats.connect(os.environ["NATS_URL"])
    js = nc.jetstream()
    task = await ask(nc, "submit", {**request, "taskId": "from-python"})
    tell("submitted", task)
    end = await follow(js, "from-python", ENDS)
    tell("result", await ask(nc, "get", {"taskId": "from-python", "minSequence": end}))

    sleeping = {**request, "run": {"command": ["sleep", "600"]}}
    await append_request(js, "on-the-log", sleeping)
    try:
        await append_request(js, "on-the-log", sleeping)
    except APIError as error:
        tell("refused", error.err_code)
    await follow(js, "on-the-log", {"started"})
    tell("cancelled", await ask(nc, "cancel", {"taskId": "on-the-log", "reason": "seen enough"}))
    await follow(js, "on-the-log", ENDS)
    tell("unknown field", await ask(nc, "submit", {**request, "priorty": "high"}))
    await nc.drain()


asyncio.run(main(json.loads(sys.argv[1])))
