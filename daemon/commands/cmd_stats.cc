// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <array>
#include <chrono>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/json_output.h"
#include "daemon/cli/logging.h"
#include "daemon/cli/options.h"
#include "daemon/cli/text_output.h"
#include "daemon/cli/text_writer.h"
#include "daemon/commands/commands.h"
#include "daemon/mount/image_mount.h"
#include "daemon/mount/mount_status.h"
#include "daemon/mount/mountpoint.h"
#include "daemon/mount/writable_run.h"

namespace pkgfs {
namespace {

using Json = nlohmann::ordered_json;

/// `17 us`, with at most three digits.
std::string duration_text(std::uint64_t nanoseconds) {
  constexpr std::array kUnits{"ns", "us", "ms", "s"};
  constexpr double kStep = 1000;
  auto value = static_cast<double>(nanoseconds);
  std::size_t unit = 0;
  while (value >= kStep && unit + 1 < kUnits.size()) {
    value /= kStep;
    ++unit;
  }
  constexpr double kShort = 10;
  return fmt::format("{:.{}f} {}", value, unit > 0 && value < kShort ? 1 : 0, kUnits.at(unit));
}

/// `2 d 3 h`, `5 min 7 s`: at most two units.
std::string age_text(double seconds) {
  auto left = static_cast<std::uint64_t>(seconds);
  constexpr std::array<std::pair<std::uint64_t, const char*>, 4> kUnits{
      {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}}};
  std::string text;
  int shown = 0;
  for (const auto& [size, name] : kUnits) {
    if (left >= size || shown > 0 || size == 1) {
      text += fmt::format("{}{} {}", shown == 0 ? "" : " ", left / size, name);
      left %= size;
      ++shown;
    }
    if (shown == 2) {
      break;
    }
  }
  return text;
}

std::uint64_t number(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

std::string word(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "?";
}

Json part(const Json& object, const std::string& name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_object() ? *found : Json::object();
}

std::uint64_t sum(const Json& counts) {
  std::uint64_t all = 0;
  for (const Json& count : counts) {
    all += count.is_number_unsigned() ? count.get<std::uint64_t>() : 0;
  }
  return all;
}

std::string error_text_of(const Json& failures) {
  std::string text;
  for (const auto& [name, count] : failures.items()) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count.dump(), name);
  }
  return text;
}

std::string times_text(const Json& latency) {
  return fmt::format("p50 {}, p99 {}, max {}", duration_text(number(latency, "p50")),
                     duration_text(number(latency, "p99")), duration_text(number(latency, "max")));
}

/// What was fetched for packages that weren't complete when the mount was made.
void print_lazy(TextWriter& out, const MountStatus& mount, const LazyStatus& lazy) {
  const Json said = part(mount.statistics, "lazy");
  if (mount.state == MountState::kTampered) {
    out << "tampered: a server sent a package with another hash than the registry announced\n";
    for (const Json& container : said.value("containers", Json::array())) {
      if (word(container, "state") == "tampered") {
        out.print("tampered package: {}\n", word(container, "package"));
      }
    }
  } else if (lazy.whole) {
    out << "whole: all packages are local and checked\n";
  } else {
    out.print("{}\n", lazy.text());
  }
  out.print("{} fetched in {} requests, {} failed; first byte: {}\n", size_text(number(said, "fetched")),
            number(said, "requests"), number(said, "failed_requests"), times_text(part(said, "first_byte_ns")));
  const Json waits = part(said, "wait_ns");
  out.print("{} reads waited for a server, {} failed, {} wait now; {} in all: {}\n", number(said, "reads"),
            number(said, "failed_reads"), number(said, "waiting"), duration_text(number(waits, "sum")),
            times_text(waits));
  out.print("{} files checked, {} mismatches\n", number(said, "checked"), number(said, "mismatches"));
}

void print_table(TextWriter out, const MountStatus& mount) {
  const Json& said = mount.statistics;
  const Json requests = part(said, "requests");
  const Json errors = part(said, "errors");
  const Json latencies = part(said, "latency_ns");
  out << mount.entry.source << " on " << mount.entry.mountpoint << '\n';
  const auto uptime = said.value("uptime_seconds", 0.0);
  out.print("pkgfs {}, process {}, mounted for {}\n", word(said, "version"), number(said, "pid"), age_text(uptime));
  std::uint64_t failed = 0;
  for (const Json& failures : errors) {
    failed += sum(failures);
  }
  out.print("{} requests, {} errors, {} read; {} files prefetched ({})\n", sum(requests), failed,
            size_text(number(said, "bytes_read")), number(said, "files_pushed"),
            size_text(number(said, "bytes_pushed")));
  if (const Json faults = part(said, "faults"); sum(faults) > 0) {
    out.print("{} reads of package files failed: {}\n", sum(faults), error_text_of(faults));
  }
  for (const Json& file : said.value("changed", Json::array())) {
    if (file.is_string()) {
      out.print("changed in place: {}\n", file.get<std::string>());
    }
  }
  if (const std::optional<LazyStatus> lazy = mount.lazy()) {
    print_lazy(out, mount, *lazy);
  }
  out << '\n';
  out.print("{:<12}{:>12}{:>9}{:>10}{:>10}{:>10}\n", "operation", "requests", "errors", "p50", "p99", "max");
  for (const auto& [name, count] : requests.items()) {
    if (!count.is_number_unsigned() || count.get<std::uint64_t>() == 0) {
      continue;
    }
    const Json failures = part(errors, name);
    const Json latency = part(latencies, name);
    const auto duration = [&](const char* which) {
      return latency.contains(which) ? duration_text(number(latency, which)) : std::string("-");
    };
    std::string row =
        format_message("{:<12}{:>12}{:>9}{:>10}{:>10}{:>10}  {}", name, count.get<std::uint64_t>(), sum(failures),
                       duration("p50"), duration("p99"), duration("max"), error_text_of(failures));
    row.erase(row.find_last_not_of(' ') + 1);
    out << row << '\n';
  }
}

[[noreturn]] void refuse(const std::string& given, const MountStatus& mount) {
  const std::string what = "The mount at \"" + given + "\" ";
  const std::string who = mount.owner ? " (process " + std::to_string(mount.owner->pid) + ")" : "";
  switch (mount.state) {
    case MountState::kDead:
      throw Error(ErrorCode::kIo,
                  {what + "is dead: its process is gone", "clear it with: pkgfs unmount " + mount.entry.mountpoint});
    case MountState::kStuck:
      throw Error(ErrorCode::kIo, {what + "doesn't answer" + who,
                                   "its process may be stopped, or may wait for a disk: see \"pkgfs doctor\""});
    case MountState::kLive:
    case MountState::kChanged:
    case MountState::kTampered:
      break;
  }
  throw Error(ErrorCode::kPermission, {what + "doesn't tell its statistics to this user" + who,
                                       "run \"pkgfs stats\" as the user who mounted, or mount with --allow-other"});
}

}  // namespace

int cmd_stats(const std::vector<std::string>& args, const Io& io) {
  const Options options = parse_options(CommandId::kStats, args, 1, 1);
  set_log_level(options.log);
  const std::string& given = options.operands.front();
  const std::string path = resolve_mountpoint(given);
  const std::optional<MountEntry> mounted = find_package_mount(path);
  if (const auto top = mounted ? mounted : find_mount(path); top && image_package(*top)) {
    throw Error(ErrorCode::kUnsupported, "The kernel serves the mount at \"" + given +
                                             "\" from an image (--engine=erofs): there is no daemon with statistics");
  }
  if (!mounted || mounted->type != kMountType) {
    throw Error(ErrorCode::kNotFound, "No package is mounted at \"" + given + "\" (see \"pkgfs mounts\")");
  }
  const MountStatus mount = ask_mounts({*mounted}, kProbeLimit).front();
  if (!mount.statistics.is_object()) {
    refuse(given, mount);
  }
  if (options.json) {
    print_ordered_json(*io.out, mount.statistics);
  } else {
    print_table(TextWriter(*io.out), mount);
  }
  return kExitOk;
}

}  // namespace pkgfs
