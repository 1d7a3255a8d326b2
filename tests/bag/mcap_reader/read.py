"""Reads a recording with the MCAP project's own reader (checksums verified) and decodes every message by its schema as
ROS 2 tools do. Prints what it found as JSON.

    read.py FILE [--contents]    # with what each topic's last message holds
"""
import json
import sys

from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory



def plain(value):
    """A decoded message as what JSON knows."""
    if hasattr(value, "__slots__"):
        return {name: plain(getattr(value, name)) for name in value.__slots__}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


topics = {}
last = 0
with open(sys.argv[1], "rb") as file:
    reader = make_reader(file, validate_crcs=True, decoder_factories=[DecoderFactory()])
    statistics = reader.get_summary().statistics
    for schema, channel, message, decoded in reader.iter_decoded_messages():
        if message.log_time < last:
            sys.exit("messages go back in time")
        last = message.log_time
        topic = topics.setdefault(channel.topic, {"type": schema.name, "messages": 0, "bytes": 0, "sequence": []})
        topic["messages"] += 1
        topic["bytes"] += len(getattr(decoded, "data", b""))
        topic["sequence"].append(message.sequence)
        topic["frame_id"] = decoded.header.frame_id if hasattr(decoded, "header") else ""
        if "--contents" in sys.argv:
            topic["last"] = plain(decoded)
print(json.dumps({"topics": topics, "messages": statistics.message_count, "chunks": statistics.chunk_count}))
