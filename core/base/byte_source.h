// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/base/lost_pages.h"
#include "core/base/read_faults.h"
#include "core/base/unique_fd.h"

namespace pkgfs {

/// A run of bytes of a source that belong together, such as the body of a file.
struct ByteRun {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::span<const std::byte> sha256 = {};  // the stored hash of the bytes: 32 bytes, or none

  friend bool operator==(const ByteRun& a, const ByteRun& b) { return a.offset == b.offset && a.length == b.length; }
};

/// The bytes of a package: immutable, of a fixed size, safe to use from many threads.
/// All of them are in memory or mapped into it (`bytes()`), so that parsers can point into them instead of copying. A
/// source that can't map its bytes has to copy them into memory or a file first.
///
/// A source may be incomplete: some of its bytes are still at a server, and are zeros in `bytes()`. So a parser calls
/// `need` before it touches bytes. `read_run` waits for the bytes that it reads. A caller that must not wait calls
/// `is_here` and `when_here` first.
class ByteSource {
 public:
  virtual ~ByteSource() = default;

  /// The name for messages: a path or a URL.
  [[nodiscard]] virtual const std::string& name() const = 0;
  [[nodiscard]] std::uint64_t size() const { return bytes().size(); }
  /// All bytes, in memory or mapped: for parsing. Valid as long as the source; reading them may wait for a disk.
  /// If the file shrinks or its disk fails, the lost part reads as zeros. So code that has read a part of them asks
  /// `lost_pages::check` and `is_intact()` before it uses the result. Code that reads everything once, such as a
  /// parser, can ask `damaged()` instead.
  [[nodiscard]] virtual std::span<const std::byte> bytes() const = 0;
  /// True once a part of the source couldn't be read, by `bytes()` or by `read`, or it isn't intact; stays true.
  /// Bytes that can't be fetched from a server don't count. A source that becomes complete begins anew.
  [[nodiscard]] virtual bool damaged() const = 0;
  /// False once another program has changed the content in place since the source was opened; stays false. Costs a
  /// system call for a file.
  [[nodiscard]] virtual bool is_intact() const { return true; }
  /// A number that changes whenever the times of the file change, even if its content stays the same.
  [[nodiscard]] virtual std::uint64_t stamp() const { return 0; }
  /// The bytes were used, and aren't likely to be used again: memory that holds them only for speed may be freed.
  virtual void used(std::uint64_t /*offset*/, std::uint64_t /*length*/) const noexcept {}
  /// Copies `out.size()` bytes from `offset`. EIO if a part lies outside the source, can't be read, or isn't intact.
  /// A range that couldn't be read is tried again, but at most once a second. Waits for bytes that are still at a
  /// server, as `read_run` does.
  [[nodiscard]] virtual Result<void> read(std::uint64_t offset, std::span<std::byte> out) const = 0;
  /// Does what `read_run` does, but waits neither for a server nor, where the file system supports that (RWF_NOWAIT),
  /// for a disk. False if not all bytes were copied: the caller then calls `read_run`.
  [[nodiscard]] virtual bool read_at_once(const ByteRun& run, std::uint64_t from, std::span<std::byte> out) const {
    return read_run(run, from, out).has_value();
  }

  /// Waits until all bytes of `runs` are here. A part of a run that lies outside of the source is ignored. Throws Error
  /// if they can't be fetched. A source that is complete does nothing.
  virtual void need(std::span<const ByteRun> /*runs*/) const {}
  void need(std::uint64_t offset, std::uint64_t length) const {
    const ByteRun run{.offset = offset, .length = length};
    need({&run, 1});
  }
  /// Copies `out.size()` bytes of `run`, from its byte `from`. Waits for them if they are still at a server. Fails as
  /// `read`. An incomplete source also fails with EIO if the bytes can't be fetched, or if it knows that they don't
  /// have the hash of the run. A complete source compares no hash.
  [[nodiscard]] virtual Result<void> read_run(const ByteRun& run, std::uint64_t from, std::span<std::byte> out) const {
    return read(run.offset + from, out);
  }
  /// Whether `read_run` would not wait for a server.
  [[nodiscard]] virtual bool is_here(const ByteRun& /*run*/, std::uint64_t /*from*/, std::uint64_t /*count*/) const {
    return true;
  }
  /// Called once with 0, or with the errno number with which `read_run` would fail. One exception: EBADMSG instead of
  /// EIO if the hash of a long run is wrong. A long run is checked only after reads may have given bytes of it.
  using Arrival = std::function<void(int error)>;
  /// Fetches bytes of `run`, and then calls `then`, in a thread of the source or before this function returns. `then`
  /// must not block. The hash of `run` is copied.
  virtual void when_here(const ByteRun& /*run*/, std::uint64_t /*from*/, std::uint64_t /*count*/, Arrival then) const {
    then(0);
  }
};

/// A file mapped read-only; `read` uses pread(2). An access to a lost page of `bytes()` gives zeros instead of SIGBUS
/// (lost_pages.h).
///
/// Unless changes are allowed, the file must not change while it is open. If its size or its time of modification
/// changes, it isn't intact. Its other times may change, because a program may rename, link or unlink it.
class MappedFile final : public ByteSource {
 public:
  enum class Changes { kRefused, kAllowed };
  /// Opens the regular file at `path`. Throws Error naming `path`.
  [[nodiscard]] static std::shared_ptr<MappedFile> open(const std::string& path);
  /// Takes over a descriptor that is open for reading. `name` is for messages. Throws Error naming `name`, also if it
  /// isn't a regular file. `changes`: whether the file may change while it is open. If it may, it is always intact.
  [[nodiscard]] static std::shared_ptr<MappedFile> adopt(UniqueFd fd, std::string name,
                                                         Changes changes = Changes::kRefused);

  /// What an earlier process knew of the file when it opened it.
  struct Known {
    std::uint64_t size;
    std::int64_t modified;  // nanoseconds since the epoch
  };
  /// The same for a file that must not change. If it isn't as `known` says, it isn't intact.
  [[nodiscard]] static std::shared_ptr<MappedFile> adopt(UniqueFd fd, std::string name, const Known& known);

  ~MappedFile() override;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] std::span<const std::byte> bytes() const override { return bytes_; }
  [[nodiscard]] bool damaged() const override;
  [[nodiscard]] bool is_intact() const override;
  [[nodiscard]] std::uint64_t stamp() const override;
  void used(std::uint64_t offset, std::uint64_t length) const noexcept override;
  [[nodiscard]] Result<void> read(std::uint64_t offset, std::span<std::byte> out) const override;
  [[nodiscard]] bool read_at_once(const ByteRun& run, std::uint64_t from, std::span<std::byte> out) const override;
  /// The descriptor, for fstat(2) and for passing it to the kernel; owned by this object.
  [[nodiscard]] int fd() const { return fd_.get(); }
  /// When the file was last modified before it was opened, in nanoseconds since the epoch.
  [[nodiscard]] std::int64_t modified() const { return modified_; }

 private:
  MappedFile(UniqueFd fd, std::string name, Changes changes);
  [[nodiscard]] Result<void> fail_read(std::uint64_t offset, std::uint64_t length, int error) const;

  std::string name_;
  UniqueFd fd_;
  std::span<const std::byte> bytes_;
  Changes changes_;
  std::int64_t modified_ = 0;  // when it was opened, in nanoseconds
  std::optional<lost_pages::Registration> registration_;
  mutable read_faults::FailedRanges failed_ranges_;
  mutable std::atomic<bool> failed_{false};
  mutable std::atomic<bool> changed_{false};
  mutable std::atomic<bool> can_ask_{true};  // the file system supports RWF_NOWAIT
};

/// Bytes in memory, for tests, fuzzers and generated files.
class MemoryBytes final : public ByteSource {
 public:
  MemoryBytes(std::string name, std::vector<std::byte> bytes) : name_(std::move(name)), bytes_(std::move(bytes)) {}

  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] std::span<const std::byte> bytes() const override { return bytes_; }
  [[nodiscard]] bool damaged() const override { return false; }
  [[nodiscard]] Result<void> read(std::uint64_t offset, std::span<std::byte> out) const override;

 private:
  std::string name_;
  std::vector<std::byte> bytes_;
};

/// A range of bytes in a source: an atom, a file body, a section. Cheap to copy; keeps the source alive.
struct Blob {
  std::shared_ptr<const ByteSource> source;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::span<const std::byte> sha256 = {};  // its stored hash, if the source has one

  [[nodiscard]] ByteRun run() const { return {.offset = offset, .length = length, .sha256 = sha256}; }
  /// Its bytes. Waits until they are here (ByteSource::need), and throws as that function.
  [[nodiscard]] std::span<const std::byte> bytes() const {
    if (source == nullptr) {
      return {};
    }
    const ByteRun needed = run();
    source->need({&needed, 1});
    return source->bytes().subspan(offset, length);
  }
};

}  // namespace pkgfs
