// SPDX-License-Identifier: MIT
#include "daemon/commands/squashfs.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/unique_fd.h"
#include "core/export/tar_writer.h"
#include "daemon/mount/spawn_with.h"

namespace pkgfs {

namespace {

constexpr int kImage = 3;  // the descriptor of the image in the child process

/// A write to a pipe whose reader has ended gives EPIPE instead of a signal.
class IgnoredPipeSignal {
 public:
  IgnoredPipeSignal() { ::sigaction(SIGPIPE, &ignored_, &before_); }
  ~IgnoredPipeSignal() { ::sigaction(SIGPIPE, &before_, nullptr); }
  IgnoredPipeSignal(const IgnoredPipeSignal&) = delete;
  IgnoredPipeSignal& operator=(const IgnoredPipeSignal&) = delete;

 private:
  struct sigaction ignored_ = [] {
    struct sigaction action{};
    action.sa_handler = SIG_IGN;
    return action;
  }();
  struct sigaction before_{};
};

/// The process that makes the image. The destructor kills it if it hasn't ended.
class Sqfstar {
 public:
  /// Standard input of the process is `in`, and the image goes to `image`. `latest` is the time of the image itself.
  Sqfstar(const std::vector<std::string>& words, int in, int image, std::uint32_t latest)
      : said_(::memfd_create("sqfstar", MFD_CLOEXEC)) {
    std::string path = "PATH=";
    path += ::getenv("PATH") != nullptr ? ::getenv("PATH") : "/usr/bin:/bin";  // NOLINT(concurrency-mt-unsafe)
    const std::optional<pid_t> child = spawn_found({in, said_.get(), said_.get(), image}, "sqfstar", words,
                                                   {path, "LC_ALL=C", "SOURCE_DATE_EPOCH=" + std::to_string(latest)});
    if (!child) {
      throw Error(ErrorCode::kUnsupported,
                  "The program \"sqfstar\", which makes SquashFS images, isn't installed (the Debian package "
                  "squashfs-tools has it)");
    }
    child_ = *child;
  }
  ~Sqfstar() {
    if (child_ > 0) {
      ::kill(child_, SIGKILL);
      wait();
    }
  }
  Sqfstar(const Sqfstar&) = delete;
  Sqfstar& operator=(const Sqfstar&) = delete;

  /// Waits for its end; whether it succeeded.
  bool wait() {
    int status = 0;
    while (::waitpid(child_, &status, 0) < 0 && errno == EINTR) {
    }
    child_ = 0;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }

  /// The last line that it printed, for a message.
  [[nodiscard]] std::string said() const {
    std::array<char, 4096> text{};
    const ssize_t length = ::pread(said_.get(), text.data(), text.size(), 0);
    std::string lines(text.data(), static_cast<std::size_t>(length > 0 ? length : 0));
    lines.erase(lines.find_last_not_of("\n ") + 1);
    return lines.substr(lines.rfind('\n') + 1);
  }

 private:
  UniqueFd said_;
  pid_t child_ = 0;
};

/// The input of the process. Tells its own errors from those of the tree that is read.
class ProcessInput final : public ByteSink {
 public:
  explicit ProcessInput(int fd) : file_(fd, "the input of sqfstar") {}
  using ByteSink::write;
  void write(std::span<const std::byte> bytes) override {
    keep_error([&] { file_.write(bytes); });
  }
  void flush() {
    keep_error([&] { file_.flush(); });
  }
  /// Why a write failed, if one did.
  [[nodiscard]] const std::optional<Error>& error() const { return error_; }

 private:
  void keep_error(FunctionRef<void()> write) {
    try {
      write();
    } catch (const Error& error) {
      error_ = error;
      throw;
    }
  }

  FileSink file_;
  std::optional<Error> error_;
};

/// SquashFS has 32 bits for the seconds since 1970.
std::uint32_t stored_time(std::int64_t seconds) {
  constexpr std::int64_t kMost = std::numeric_limits<std::uint32_t>::max();
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(seconds, 0, kMost));
}

/// The latest time of the entries, as SquashFS can store it. sqfstar 4.5 ignores its option for the time of the root,
/// and takes the present time. SOURCE_DATE_EPOCH is the only way to another: no time in the image is later.
class LatestTime final : public TreeTarget {
 public:
  void enter(const ExportEntry& directory) override { see(directory); }
  void file(const ExportEntry& file) override { see(file); }
  void link(const ExportEntry& link, std::string_view /*target*/) override { see(link); }
  [[nodiscard]] std::uint32_t latest() const { return latest_; }

 private:
  void see(const ExportEntry& entry) { latest_ = std::max(latest_, stored_time(entry.attributes.modified)); }

  std::uint32_t latest_ = 0;
};

/// Leaves out the root, which sqfstar takes from its options, and changes times that SquashFS can't store.
class RootlessTar final : public TreeTarget {
 public:
  RootlessTar(TreeReader& reader, ByteSink& out) : reader_(reader), tar_(out) {}
  void enter(const ExportEntry& directory) override {
    if (!directory.path.empty()) {
      tar_.add(stored(directory));
    }
  }
  void file(const ExportEntry& file) override {
    tar_.add(stored(file));
    reader_.copy(file, [this](std::span<const std::byte> bytes) { tar_.content(bytes); });
    tar_.end_file();
  }
  void link(const ExportEntry& link, std::string_view target) override { tar_.add_link(stored(link), target); }
  void finish() { tar_.finish(); }

 private:
  static ExportEntry stored(ExportEntry entry) {
    entry.attributes.modified = stored_time(entry.attributes.modified);
    entry.attributes.modified_ns = 0;
    return entry;
  }

  TreeReader& reader_;
  TarWriter tar_;
};

std::string octal(unsigned mode) {
  std::array<char, 8> text{};
  std::snprintf(text.data(), text.size(), "0%o", mode);
  return text.data();
}

}  // namespace

void write_squashfs(vfs::FileSystem& fs, int fd, const std::string& name) {
  TreeReader reader(fs);
  LatestTime times;
  reader.run(times);
  const Result<vfs::Attributes> root = fs.metadata(fs.root());
  if (!root) {
    throw unreadable_entry("", root.error());
  }
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw system_error("Unable to make a pipe", errno);
  }
  UniqueFd in(ends[0]);
  UniqueFd out(ends[1]);
  const IgnoredPipeSignal ignored;
  // -force: the file exists, with no bytes. -force-uid: else the user of the process would be in the table of owners.
  // -mem: without it, a quarter of the machine's memory.
  Sqfstar sqfstar({"sqfstar", "-reproducible", "-force", "-no-xattrs", "-quiet", "-no-progress", "-mem", "256M",
                   "-root-mode", octal(root->mode), "-force-uid", "0", "-force-gid", "0", "-root-uid", "0", "-root-gid",
                   "0", "/proc/self/fd/" + std::to_string(kImage)},
                  in.get(), fd, times.latest());
  in.reset();
  ProcessInput input(out.get());
  try {
    RootlessTar target(reader, input);
    reader.run(target);
    target.finish();
    input.flush();
  } catch (const Error&) {
    if (!input.error()) {
      throw;  // the tree can't be read, or a signal came
    }  // else the process has most likely ended, and says why
  }
  out.reset();
  if (!sqfstar.wait() || input.error()) {
    throw_if_cancelled();  // Ctrl-C ends both processes
    Error failed(ErrorCode::kIo, "Unable to write \"" + name + "\": sqfstar failed");
    if (const std::string said = sqfstar.said(); !said.empty()) {
      failed.caused_by(said);
    } else if (input.error()) {
      failed.caused_by(*input.error());
    }
    throw failed;
  }
}

}  // namespace pkgfs
