// SPDX-License-Identifier: MIT
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/log.h"
#include "daemon/cli/console.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/logging.h"
#include "daemon/cli/options.h"
#include "daemon/cli/run_report.h"
#include "daemon/cli/text_output.h"
#include "daemon/commands/commands.h"
#include "daemon/mount/image_mount.h"
#include "daemon/mount/mount_status.h"
#include "daemon/mount/mountpoint.h"
#include "daemon/mount/writable_run.h"
#include "daemon/packages/interrupt.h"

namespace pkgfs {
namespace {

using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::milliseconds;

constexpr Milliseconds kFirstPause{100};
constexpr Milliseconds kLongestPause{1000};
/// The shortest time in which a mount can be expected to answer.
constexpr Milliseconds kLeastProbe{100};

/// A line about the mount on a terminal, which the destructor removes.
class ProgressLine {
 public:
  explicit ProgressLine(const Io& io)
      : console_(io.err_is_terminal && log::enabled(log::Level::kWarn) ? Console::of(*io.err) : nullptr) {}
  ~ProgressLine() { draw({}); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void show(const std::string& mountpoint, const std::string& state) {
    draw({printable(mountpoint) + ": " + printable(state)});
  }

 private:
  void draw(std::vector<std::string> block) {
    if (console_ != nullptr) {
      console_->draw("", std::move(block));
    }
  }

  std::shared_ptr<Console> console_;
};

/// Asks one mount again and again.
class Waiter {
 public:
  explicit Waiter(const std::string& given) : given_(given), path_(resolve_mountpoint(given)) {
    std::optional<MountEntry> mounted = find_package_mount(path_);
    mounted = mounted ? mounted : find_mount(path_);
    if (!mounted) {
      throw Error(ErrorCode::kNotFound, "Nothing is mounted at \"" + given_ + "\"");
    }
    is_image_ = image_package(*mounted).has_value();
    if (mounted->type != kMountType && !is_image_) {
      throw Error(ErrorCode::kUsage, "The mount at \"" + given_ + "\" isn't a mount of pkgfs: it is \"" +
                                         mounted->source + "\" of type " + mounted->type);
    }
    entry_ = *mounted;
  }

  /// Whether the mount is complete now. Throws Error if it never will be. Waits at most twice as long as `limit`.
  [[nodiscard]] bool is_complete(Milliseconds limit) {
    if (is_image_) {
      return true;  // an image is complete before it is mounted
    }
    const MountStatus mount = ask_mounts({entry_}, limit).front();
    check_is_same(mount);
    const std::optional<LazyStatus> lazy = mount.lazy();
    switch (mount.state) {
      case MountState::kDead:
        throw Error(ErrorCode::kIo, {"The mount at \"" + given_ + "\" is dead: its process is gone",
                                     "clear it with: pkgfs unmount " + entry_.mountpoint});
      case MountState::kTampered:
        throw Error(ErrorCode::kCorrupt,
                    {"The mount at \"" + given_ +
                         "\" is tampered: a server sent a package with another hash than the registry announced",
                     "\"pkgfs stats\" names the package"});
      case MountState::kStuck:
        state_ = "it doesn't answer";
        return false;
      case MountState::kLive:
      case MountState::kChanged:
        break;
    }
    if (!mount.statistics.is_object()) {
      throw Error(ErrorCode::kPermission, {"The mount at \"" + given_ + "\" doesn't tell its state to this user",
                                           "run \"pkgfs wait\" as the user who mounted, or mount with --allow-other"});
    }
    if (!lazy || lazy->whole) {
      return true;
    }
    state_ = lazy->text();
    if (!first_) {
      first_ = {Clock::now(), lazy->local};
    }
    local_ = lazy->local;
    if (lazy->local == lazy->bytes && !lazy->problem.empty()) {
      throw Error(ErrorCode::kIo, {"The packages of the mount at \"" + given_ + "\" aren't kept", lazy->problem});
    }
    if (!lazy->in_background && !std::exchange(has_warned_, true)) {
      log::warn(
          "the mount at \"{}\" fetches only what programs read (--background=off); \"pkgfs pull\" fetches the rest",
          given_);
    }
    return false;
  }
  /// Why it isn't complete.
  [[nodiscard]] const std::string& state() const { return state_; }
  /// The same with the bytes that come each second, as far as that is known.
  [[nodiscard]] std::string progress() const {
    if (!first_ || local_ <= first_->second) {
      return state_;
    }
    const double seconds = std::max(std::chrono::duration<double>(Clock::now() - first_->first).count(), 1e-3);
    const auto rate = static_cast<std::uint64_t>(static_cast<double>(local_ - first_->second) / seconds);
    return state_ + "; " + size_text(rate) + "/s";
  }
  [[nodiscard]] const std::string& mountpoint() const { return entry_.mountpoint; }

 private:
  /// Throws Error if the mount has ended, also if another one is there now.
  void check_is_same(const MountStatus& mount) {
    const std::optional<MountEntry> now = find_package_mount(path_);
    const std::optional<pid_t> pid = mount.statistics.is_object() ? mount.pid() : std::nullopt;
    const bool is_other = pid && pid_ && *pid != *pid_;
    if (!now || now->type != kMountType || now->device != entry_.device || is_other) {
      throw Error(ErrorCode::kNotFound, "The mount at \"" + given_ + "\" ended before its packages were complete");
    }
    pid_ = pid ? pid : pid_;
  }

  std::string given_;
  std::string path_;
  MountEntry entry_;
  bool is_image_ = false;  // the kernel serves it
  std::optional<pid_t> pid_;
  std::string state_;
  std::optional<std::pair<Clock::time_point, std::uint64_t>> first_;  // when its state first came, and what was local
  std::uint64_t local_ = 0;                                           // now
  bool has_warned_ = false;
};

}  // namespace

int cmd_wait(const std::vector<std::string>& args, const Io& io) {
  const Options options = parse_options(CommandId::kWait, args, 1, 1);
  set_log_level(options.log);
  CancelFlag cancel;
  const InterruptGuard interrupt(cancel);
  Waiter waiter(options.operands.front());
  ProgressLine progress(io);
  const auto left = [&, begun = Clock::now()] {
    const auto limit = std::chrono::duration<double>(options.wait_limit.value_or(0));
    return options.wait_limit ? std::chrono::ceil<Milliseconds>(limit - (Clock::now() - begun)) : Milliseconds::max();
  };
  Milliseconds pause = kFirstPause;
  while (!waiter.is_complete(std::clamp<Milliseconds>(left(), kLeastProbe, kProbeLimit))) {
    const Milliseconds rest = left();
    if (rest <= Milliseconds::zero()) {
      (void)report_failure(io, Error(ErrorCode::kIo, {"The mount at \"" + options.operands.front() +
                                                          "\" isn't complete, and the time to wait is over",
                                                      waiter.state()}));
      return kExitTimeOver;
    }
    progress.show(waiter.mountpoint(), waiter.progress());
    if (cancel.wait_for(std::min(pause, rest))) {
      throw Error(ErrorCode::kInterrupted, "interrupted");
    }
    pause = std::min(pause * 3 / 2, kLongestPause);
  }
  return kExitOk;
}

}  // namespace pkgfs
