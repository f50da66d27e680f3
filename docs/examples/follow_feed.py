"""follow_feed.py SERVER.JSON [MESSAGES] - the status feed from now on, without a gap. Needs zmq and, of protoc --python_out, two modules."""
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
import json, sys, zmq
import control_pb2, status_pb2

KINDS = {topic.lower().encode(): getattr(status_pb2, "Feed" + topic) for topic in ("Step", "Worker", "Stream", "Event", "Snapshot", "Server")}
address = json.load(open(sys.argv[1]))
left = int(sys.argv[2]) if len(sys.argv) > 2 else -1
context = zmq.Context()
feed, control = context.socket(zmq.SUB), context.socket(zmq.DEALER)
feed.subscribe(b"")
feed.connect(address["feed"])
control.connect(address["control"])


def ask_status():
    question = control_pb2.Command(request=1, name="status", arguments="")
    control.send(control_pb2.Envelope(kind=40, body=question.SerializeToString()).SerializeToString())
    reply = control_pb2.Reply.FromString(control_pb2.Envelope.FromString(control.recv()).body)
    return json.loads(reply.body)["feed"]


place = ask_status()  # behind this message we go on
while left != 0:
    topic, body = feed.recv_multipart()
    message = KINDS[topic].FromString(body)
    if (message.epoch, message.sequence) <= (place["epoch"], place["sequence"]):
        continue  # the snapshot had it
    if (message.epoch, message.sequence) != (place["epoch"], place["sequence"] + 1):
        place = ask_status()  # something is missing, or the server was started again
        continue
    place["sequence"] = message.sequence
    print(message.epoch, message.sequence, topic.decode(), flush=True)
    left -= 1
