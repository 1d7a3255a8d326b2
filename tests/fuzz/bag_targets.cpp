// Recordings and the messages in them: what a player, a camera and `fovea bag` read from files.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

#include "msgs/cdr.hpp"
#include "msgs/json.hpp"
#include "msgs/wire.hpp"
#include "nodes/bag/detection_hash.hpp"
#include "nodes/bag/image_record.hpp"
#include "nodes/bag/mcap.hpp"
#include "nodes/bag/mcap_records.hpp"
#include "nodes/bag/topic_type.hpp"
#include "tests/fuzz/targets.hpp"

namespace fovea::fuzz {

namespace {

using Bytes = std::span<const std::byte>;

// A message of type M: what was read can be written, published and read again.
template <class M>
bool read_message(Bytes bytes) {
  const auto message = std::make_unique<M>();
  Bytes payload;
  if (!msgs::from_cdr(bytes, *message, payload)) return false;
  (void)msgs::to_json(*message);
  std::vector<std::byte> wire(msgs::wire_size(*message));
  msgs::encode(*message, wire);
  const auto again = std::make_unique<M>();
  require(msgs::decode(wire, *again) == msgs::DecodeError::kNone,
          "what a recording holds cannot be published");
  std::vector<std::byte> first;
  std::vector<std::byte> second;
  msgs::to_cdr(*message, payload, first);
  require(msgs::from_cdr(first, *again, payload), "what was written cannot be read");
  msgs::to_cdr(*again, payload, second);
  require(first == second, "a message reads as another one");
  return true;
}

template <bool kCompressed>
bool read_image(Bytes bytes) {
  bag::ImageRecord record;
  if (!bag::from_cdr(bytes, kCompressed, record)) return false;
  require(kCompressed || std::uint64_t{record.step} * record.height <= record.data.size(),
          "rows lie beyond the pixels");
  std::vector<std::byte> written;
  bag::to_cdr(record, written);
  bag::ImageRecord again;
  require(bag::from_cdr(written, kCompressed, again), "what was written cannot be read");
  require(std::equal(again.data.begin(), again.data.end(), record.data.begin(), record.data.end()),
          "a picture reads as another one");
  return true;
}

// As a player does: the schema tells pictures, the topic's name everything else.
void read_content(const mcap::Reader& reader, const mcap::Message& message) {
  const mcap::Schema* schema = reader.find_schema(message.channel->schema_id);
  if (schema != nullptr && schema->name == bag::kImageSchemaName) {
    (void)read_image<false>(message.data);
  } else if (schema != nullptr && schema->name == bag::kCompressedImageSchemaName) {
    (void)read_image<true>(message.data);
  } else {
    (void)bag::with_type_of(message.channel->topic,
                            [&]<class M>(std::type_identity<M>) -> Result<> {
                              (void)read_message<M>(message.data);
                              return {};
                            });
  }
}

// Every message in order, then those from the middle on; how many could be read.
std::uint64_t read_through(mcap::Reader& reader) {
  const mcap::Summary& summary = reader.summary();
  std::uint64_t by_channel = 0;
  for (const auto& [channel, messages] : summary.messages_by_channel) by_channel += messages;
  require(by_channel == summary.messages, "the channels' messages do not add up");
  std::uint64_t read = 0;
  std::int64_t last = std::numeric_limits<std::int64_t>::min();
  for (std::uint64_t turn = 0;; ++turn) {
    require(turn <= summary.messages, "reading does not end");
    const auto message = reader.next();
    if (!message) {
      require(!message.error().message.empty(), "an error says nothing");
      continue;
    }
    if (!*message) break;
    require((*message)->channel != nullptr && (*message)->log_time >= last, "out of order");
    last = (*message)->log_time;
    read_content(reader, **message);
    ++read;
  }
  std::vector<std::string> topics;
  if (!reader.channels().empty()) topics.push_back(reader.channels().back().topic);
  const std::int64_t middle = summary.start_time / 2 + summary.end_time / 2;
  reader.seek(middle, topics);
  if (const auto message = reader.next(); message && *message) {
    require((*message)->log_time >= middle && (*message)->channel->topic == topics[0],
            "a seek leads elsewhere");
  }
  return read;
}

// A file of this process that exists in memory only.
class MemoryFile {
 public:
  MemoryFile() : fd_(memfd_create("fovea-fuzz", MFD_CLOEXEC)) {
    require(fd_ >= 0, "no file in memory");
  }
  ~MemoryFile() { close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  std::string path_of(Bytes bytes) const {
    const bool written = ftruncate(fd_, 0) == 0 && pwrite(fd_, bytes.data(), bytes.size(), 0) ==
                                                       static_cast<ssize_t>(bytes.size());
    require(written, "a file in memory cannot be written");
    return "/proc/self/fd/" + std::to_string(fd_);
  }

 private:
  const int fd_;
};

bool read_recording(Bytes bytes) {
  static const MemoryFile file;
  const std::string path = file.path_of(bytes);
  auto reader = mcap::Reader::open(path);
  if (!reader) {
    require(!reader.error().message.empty(), "an error says nothing");
    return false;
  }
  const std::uint64_t read = read_through(**reader);
  const auto damaged = (*reader)->find_damaged_chunks();
  require(damaged.size() <= (*reader)->summary().chunks, "more chunks are damaged than there are");
  for (const mcap::DamagedChunk& chunk : damaged) {
    require(!chunk.reason.empty() && chunk.offset < bytes.size(), "damage without a place");
  }
  (void)bag::hash_detections(path);
  return read > 0;
}

// Chunks and the index say 0, "no checksum", so that mutations reach what lies behind.
void forget_checksums(std::vector<std::byte>& bytes) {
  constexpr std::size_t kInFooter = 8 + 8;
  constexpr std::size_t kInChunk = 8 + 8 + 8;
  std::size_t at = mcap::kMagic.size();
  while (at + mcap::kRecordHeaderBytes + kInChunk + 4 <= bytes.size()) {
    const auto opcode = static_cast<mcap::Opcode>(bytes[at]);
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data() + at + 1, sizeof length);
    at += mcap::kRecordHeaderBytes;
    if (opcode == mcap::Opcode::kChunk) std::memset(bytes.data() + at + kInChunk, 0, 4);
    if (opcode == mcap::Opcode::kFooter) std::memset(bytes.data() + at + kInFooter, 0, 4);
    if (length > bytes.size() - at) return;
    at += static_cast<std::size_t>(length);
  }
}

}  // namespace

bool run_mcap(std::span<const std::byte> input) {
  std::vector<std::byte> bytes(input.begin(), input.end());
  const bool taken = read_recording(bytes);
  forget_checksums(bytes);
  return read_recording(bytes) || taken;
}

bool run_cdr(std::span<const std::byte> input) {
  if (input.empty()) return false;
  constexpr std::array kReaders = {read_message<msgs::Image>,
                                   read_message<msgs::Tensor>,
                                   read_message<msgs::TensorArray>,
                                   read_message<msgs::ModelInfo>,
                                   read_message<msgs::NodeStatus>,
                                   read_message<msgs::Detection2DArray>,
                                   read_message<msgs::InstanceMask2DArray>,
                                   read_message<msgs::KeypointDetection2DArray>,
                                   read_message<msgs::OrientedDetection2DArray>,
                                   read_message<msgs::Classification>,
                                   read_message<msgs::SemanticMap>,
                                   read_message<msgs::DepthMap>,
                                   read_image<false>,
                                   read_image<true>};
  return kReaders[std::to_integer<std::size_t>(input[0]) % kReaders.size()](input.subspan(1));
}

}  // namespace fovea::fuzz
