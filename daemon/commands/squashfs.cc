// SPDX-License-Identifier: MIT
#include "daemon/commands/squashfs.h"

#include <fcntl.h>
#include <spawn.h>
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

#include "core/base/error.h"
#include "core/base/unique_fd.h"
#include "core/export/tar_writer.h"

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
    std::vector<char*> arguments;
    std::vector<std::string> copies = words;
    arguments.reserve(copies.size() + 1);
    for (std::string& word : copies) {
      arguments.push_back(word.data());
    }
    arguments.push_back(nullptr);
    std::string path = "PATH=";
    path += ::getenv("PATH") != nullptr ? ::getenv("PATH") : "/usr/bin:/bin";  // NOLINT(concurrency-mt-unsafe)
    std::string locale = "LC_ALL=C";
    std::string time = "SOURCE_DATE_EPOCH=" + std::to_string(latest);
    std::array<char*, 4> environment{path.data(), locale.data(), time.data(), nullptr};
    posix_spawn_file_actions_t actions{};
    ::posix_spawn_file_actions_init(&actions);
    // From higher numbers, so that none is overwritten before it is copied.
    const UniqueFd high_in(::fcntl(in, F_DUPFD_CLOEXEC, kImage + 1));
    const UniqueFd high_image(::fcntl(image, F_DUPFD_CLOEXEC, kImage + 1));
    const UniqueFd high_said(::fcntl(said_.get(), F_DUPFD_CLOEXEC, kImage + 1));
    ::posix_spawn_file_actions_adddup2(&actions, high_in.get(), STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, high_said.get(), STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, high_said.get(), STDERR_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, high_image.get(), kImage);
    ::posix_spawn_file_actions_addclosefrom_np(&actions, kImage + 1);
    const int failed = ::posix_spawnp(&child_, "sqfstar", &actions, nullptr, arguments.data(), environment.data());
    ::posix_spawn_file_actions_destroy(&actions);
    if (failed == ENOENT) {
      throw Error(ErrorCode::kUnsupported,
                  "The program \"sqfstar\", which makes SquashFS images, isn't installed (the Debian package "
                  "squashfs-tools has it)");
    }
    if (failed != 0) {
      throw start_error("Unable to start \"sqfstar\"", failed);
    }
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
  std::optional<Error> broken;
  try {
    FileSink sink(out.get(), "the input of sqfstar");
    RootlessTar target(reader, sink);
    reader.run(target);
    target.finish();
    sink.flush();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kIo) {
      throw;
    }
    broken = error;  // most likely, the process has ended, and says why
  }
  out.reset();
  if (!sqfstar.wait() || broken) {
    Error failed(ErrorCode::kIo, "Unable to write \"" + name + "\": sqfstar failed");
    if (const std::string said = sqfstar.said(); !said.empty()) {
      failed.caused_by(said);
    } else if (broken) {
      failed.caused_by(*broken);
    }
    throw failed;
  }
}

}  // namespace pkgfs
