// Reads a recording with the MCAP project's own reader (checksums verified) and decodes every message
// by its schema with Foxglove's ROS 2 decoder. Prints what it found as JSON.
//   node read.mjs FOLDER_WITH_NODE_MODULES FILE
import { createRequire } from "node:module";
import { open } from "node:fs/promises";

const [folder, file] = process.argv.slice(2);
const require = createRequire(`${folder}/package.json`);
const { McapIndexedReader } = require("@mcap/core");
const { FileHandleReadable } = require("@mcap/nodejs");
const { parse } = require("@foxglove/rosmsg");
const { MessageReader } = require("@foxglove/rosmsg2-serialization");
const fzstd = require("fzstd");

const handle = await open(file, "r");
const reader = await McapIndexedReader.Initialize({
  readable: new FileHandleReadable(handle),
  decompressHandlers: { zstd: (data, size) => fzstd.decompress(data, new Uint8Array(Number(size))) },
});

const decoders = new Map();
const topics = {};
let last = 0n;
for await (const message of reader.readMessages({ validateCrcs: true })) {
  if (message.logTime < last) throw new Error("messages go back in time");
  last = message.logTime;
  const channel = reader.channelsById.get(message.channelId);
  const schema = reader.schemasById.get(channel.schemaId);
  if (!decoders.has(channel.id)) {
    const text = new TextDecoder().decode(schema.data);
    decoders.set(channel.id, new MessageReader(parse(text, { ros2: true })));
  }
  const decoded = decoders.get(channel.id).readMessage(message.data);
  const topic = (topics[channel.topic] ??= { type: schema.name, messages: 0, bytes: 0, sequence: [] });
  topic.messages += 1;
  topic.bytes += decoded.data?.length ?? 0;
  topic.sequence.push(message.sequence);
  topic.frame_id = decoded.header.frame_id;
}
const statistics = reader.statistics;
console.log(JSON.stringify({
  topics,
  messages: Number(statistics.messageCount),
  chunks: statistics.chunkCount,
}));
await handle.close();
