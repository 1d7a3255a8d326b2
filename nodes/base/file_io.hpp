// Whole files in and out: the only reader and writer of plans, caches, models, reports and
// settings.
//
// Reading takes regular files only, so that a FIFO or a device in a file's place is an error and
// not a wait without end. Writing is atomic wherever that is possible, because a reader in another
// process (or after a power cut) must see the old file or the new one, never half of one; and it
// never replaces what is no regular file.
//
// Thread safety: any thread; concurrent writers of one path leave one complete version.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/base/file_handle.hpp"
#include "nodes/base/result.hpp"

namespace fovea {

// Above every plan and model; keeps a sparse file from taking all memory.
inline constexpr std::uint64_t kMaxFileBytes = std::uint64_t{8} << 30;
// Above every launch file, parameter file, calibration table and label list.
inline constexpr std::uint64_t kMaxTextBytes = std::uint64_t{64} << 20;

// Errors: kNotFound if PATH is absent, kInvalidArgument if it is not a regular file or larger than
// `limit` bytes, kInternal with errno's text otherwise.
Result<std::vector<std::byte>> read_file(const std::filesystem::path& path,
                                         std::uint64_t limit = kMaxFileBytes);
Result<std::string> read_text_file(const std::filesystem::path& path,
                                   std::uint64_t limit = kMaxTextBytes);

// Fails with the error of read_file() if PATH cannot be read as a regular file; for readers that
// open it themselves.
Result<> check_readable(const std::filesystem::path& path);

// Puts `bytes` at PATH. A regular file, or one that does not exist yet, is written beside and
// renamed (fsync of both file and folder); a symbolic link is followed first and stays; mode and,
// where allowed, owner of an existing file are kept. A device, FIFO or descriptor (/dev/stdout,
// /proc/self/fd/3) is written straight into. On an error a regular file is untouched and nothing is
// left beside it. Errors: kExhausted (no space, quota), kInvalidArgument (folder, socket),
// kInternal; the message names PATH.
Result<> write_file(const std::filesystem::path& path, std::span<const std::byte> bytes);
Result<> write_file(const std::filesystem::path& path, std::string_view text);

enum class IfExists { kRefuse, kReplace };

// Opens a new file at PATH for a writer that appends to it for long (recordings). A symbolic link is
// followed first and stays. An existing regular file is refused, or unlinked: whoever still has it
// open keeps it. Errors: kInvalidArgument (exists; a folder, FIFO, device or socket), kNotFound (no
// such folder), kExhausted, kInternal; the message names PATH.
Result<FileHandle> create_file(const std::filesystem::path& path, IfExists if_exists);

// The same as read_file() and write_file() for files of ours in a folder where other users may be about, a plan cache for one. No
// link is followed; what belongs neither to this user nor to root, or what others may write to, is
// not read (kCorrupt, with owner and mode). A link is replaced and not followed; what is written,
// nobody else may write to.
Result<std::vector<std::byte>> read_trusted_file(const std::filesystem::path& path,
                                                 std::uint64_t limit = kMaxFileBytes);
Result<> write_trusted_file(const std::filesystem::path& path, std::span<const std::byte> bytes);

struct Leftovers {
  std::size_t files = 0;
  std::uint64_t bytes = 0;
};

// Removes what writers that were killed left in FOLDER of the file named `target`, or of any if it is
// empty; what a living writer has in hand stays. Every write does this for its own target first.
// With `dry_run` only counts.
Leftovers remove_leftovers(const std::filesystem::path& folder, std::string_view target = {},
                           bool dry_run = false);

// Whether write_file(PATH) can be expected to work, with its error if not; for programs that run
// long before they write. Leaves nothing behind and waits for nobody.
Result<> check_writable(const std::filesystem::path& path);

}  // namespace fovea
