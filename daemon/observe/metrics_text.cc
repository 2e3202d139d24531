// SPDX-License-Identifier: MIT
#include "daemon/observe/metrics_text.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "core/base/printable.h"
#include "core/base/read_faults.h"

namespace pkgfs {
namespace {

constexpr std::string_view kStable = "stable";
constexpr std::string_view kExperimental = "experimental";

enum Metric : std::size_t {
  kInfo,
  kPackages,
  kRequests,
  kErrors,
  kDuration,
  kLongest,
  kInFlight,
  kReadBytes,
  kPushedFiles,
  kPushedBytes,
  kFaults,
  kChanged,
  kWatched,
  kUnwatched,
  kNotices,
  kCpu,
  kResident,
  kVirtual,
  kOpenFiles,
  kMostFiles,
  kStart,
};

constexpr std::array kTable{
    MetricSpec{"pkgfs_info", "gauge", "package,version,mountpoint", kStable, "The mount; always 1."},
    MetricSpec{"pkgfs_packages", "gauge", "", kStable, "Packages that the mount shows, dependencies included."},
    MetricSpec{"pkgfs_fuse_requests_total", "counter", "operation", kStable, "Requests that the kernel sent."},
    MetricSpec{"pkgfs_fuse_errors_total", "counter", "operation,errno", kStable,
               "Requests that failed, except with ENOENT, ENODATA, ERANGE, ENOTTY or ENOSYS."},
    MetricSpec{"pkgfs_fuse_request_duration_seconds", "histogram", "operation", kStable,
               "Time from the arrival of a request to the delivery of its reply."},
    MetricSpec{"pkgfs_fuse_request_duration_max_seconds", "gauge", "operation", kExperimental,
               "The longest request duration since the mount was made."},
    MetricSpec{"pkgfs_fuse_requests_in_flight", "gauge", "operation", kExperimental,
               "Requests that are not answered yet."},
    MetricSpec{"pkgfs_fuse_read_bytes_total", "counter", "", kStable,
               "Bytes of file content in replies to read requests."},
    MetricSpec{"pkgfs_fuse_pushed_files_total", "counter", "", kExperimental,
               "Files that the daemon prefetched into the page cache."},
    MetricSpec{"pkgfs_fuse_pushed_bytes_total", "counter", "", kExperimental, "Bytes of the prefetched files."},
    MetricSpec{"pkgfs_read_faults_total", "counter", "cause", kExperimental,
               "Times that bytes of a package file couldn't be used."},
    MetricSpec{"pkgfs_changed_files", "gauge", "", kExperimental,
               "Package files that another program has changed in place."},
    MetricSpec{"pkgfs_live_directories_watched", "gauge", "", kExperimental,
               "Live directories whose changes the host reports."},
    MetricSpec{"pkgfs_live_directories_unwatched_total", "counter", "", kExperimental,
               "Times that a live directory could not be watched."},
    MetricSpec{"pkgfs_live_notices_total", "counter", "", kExperimental,
               "Changes of live directories that the kernel was told of."},
    MetricSpec{"process_cpu_seconds_total", "counter", "", kStable, "User and system time of the process."},
    MetricSpec{"process_resident_memory_bytes", "gauge", "", kStable,
               "Resident memory, including the mapped pages of package files."},
    MetricSpec{"process_virtual_memory_bytes", "gauge", "", kStable, "Size of the address space."},
    MetricSpec{"process_open_fds", "gauge", "", kStable, "Open file descriptors."},
    MetricSpec{"process_max_fds", "gauge", "", kStable, "The limit on open file descriptors."},
    MetricSpec{"process_start_time_seconds", "gauge", "", kStable,
               "When the mount was made, in seconds since the epoch."},
};

constexpr double kNanosecond = 1e-9;
// The upper bounds of the buckets: powers of four from 1.024 us to 4.3 s.
constexpr unsigned kFirstShown = 10;
constexpr unsigned kLastShown = 32;
constexpr unsigned kShownStep = 2;

/// A printable value of a label; the format itself needs only quotes, backslashes and newlines escaped.
std::string escaped(std::string_view value) {
  std::string text;
  for (const char c : shortened(printable(value), kLongestMessage)) {
    if (c == '"' || c == '\\') {
      text += '\\';
    }
    text += c;
  }
  return text;
}

class Writer {
 public:
  void begin(Metric metric) {
    const MetricSpec& spec = kTable.at(metric);
    name_ = spec.name;
    put("# HELP {} {}\n# TYPE {} {}\n", name_, spec.help, name_, spec.type);
  }
  template <typename Value>
  void sample(Value value, std::string_view labels = {}, std::string_view suffix = {}) {
    if (labels.empty()) {
      put("{}{} {}\n", name_, suffix, value);
    } else {
      put("{}{}{{{}}} {}\n", name_, suffix, labels, value);
    }
  }
  template <typename Value>
  void single(Metric metric, Value value) {
    begin(metric);
    sample(value);
  }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  template <typename... Args>
  void put(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
  }

  std::string_view name_;
  std::string text_;
};

template <typename Visit>
void for_each_operation(const fuse::Snapshot& counts, const Visit& visit) {
  for (std::size_t i = 0; i < fuse::kRequests; ++i) {
    const std::string label = fmt::format(R"(operation="{}")", name_of(static_cast<fuse::Request>(i)));
    visit(counts.operations.at(i), label);
  }
}

void write_errors(Writer& out, const fuse::Snapshot& counts) {
  out.begin(kErrors);
  for_each_operation(counts, [&out](const fuse::Snapshot::Operation& operation, const std::string& label) {
    for (std::size_t i = 0; i < fuse::kFailures; ++i) {
      const auto failure = static_cast<fuse::Failure>(i);
      if (operation.failures.at(i) > 0 || failure == fuse::Failure::kIo) {
        out.sample(operation.failures.at(i), fmt::format(R"({},errno="{}")", label, name_of(failure)));
      }
    }
  });
}

void write_durations(Writer& out, const fuse::Snapshot& counts) {
  out.begin(kDuration);
  for_each_operation(counts, [&out](const fuse::Snapshot::Operation& operation, const std::string& label) {
    for (unsigned bit = kFirstShown; bit <= kLastShown; bit += kShownStep) {
      const std::uint64_t end = std::uint64_t{1} << bit;
      out.sample(operation.below(end), fmt::format(R"({},le="{}")", label, static_cast<double>(end) * kNanosecond),
                 "_bucket");
    }
    out.sample(operation.answered, label + R"(,le="+Inf")", "_bucket");
    out.sample(static_cast<double>(operation.total) * kNanosecond, label, "_sum");
    out.sample(operation.answered, label, "_count");
  });
}

double seconds(const timeval& time) {
  constexpr double kMicrosecond = 1e-6;
  return static_cast<double>(time.tv_sec) + kMicrosecond * static_cast<double>(time.tv_usec);
}

void write_process(Writer& out, const MountFacts& facts) {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  out.single(kCpu, seconds(used.ru_utime) + seconds(used.ru_stime));
  std::uint64_t virtual_pages = 0;
  std::uint64_t resident_pages = 0;
  std::ifstream("/proc/self/statm") >> virtual_pages >> resident_pages;
  const auto page = static_cast<std::uint64_t>(std::max(::sysconf(_SC_PAGESIZE), 1L));
  out.single(kResident, resident_pages * page);
  out.single(kVirtual, virtual_pages * page);
  std::error_code error;
  const std::filesystem::directory_iterator files("/proc/self/fd", error);
  out.single(kOpenFiles, error ? 0 : std::max<std::ptrdiff_t>(std::distance(begin(files), end(files)) - 1, 0));
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  out.single(kMostFiles, limit.rlim_cur);
  out.single(kStart, facts.since);
}

}  // namespace

std::span<const MetricSpec> metric_table() { return kTable; }

std::string metrics_text(const MountFacts& facts, const fuse::Snapshot& counts) {
  Writer out;
  out.begin(kInfo);
  out.sample(1, fmt::format(R"(package="{}",version="{}",mountpoint="{}")", escaped(facts.package), PKGFS_VERSION,
                            escaped(facts.mountpoint)));
  out.single(kPackages, facts.packages.size());
  out.begin(kRequests);
  for_each_operation(counts,
                     [&out](const auto& operation, const auto& label) { out.sample(operation.requests, label); });
  write_errors(out, counts);
  write_durations(out, counts);
  out.begin(kLongest);
  for_each_operation(counts, [&out](const auto& operation, const auto& label) {
    out.sample(static_cast<double>(operation.longest) * kNanosecond, label);
  });
  out.begin(kInFlight);
  for_each_operation(counts, [&out](const auto& operation, const auto& label) {
    out.sample(operation.requests - std::min(operation.answered, operation.requests), label);
  });
  out.single(kReadBytes, counts.bytes_read);
  out.single(kPushedFiles, counts.files_pushed);
  out.single(kPushedBytes, counts.bytes_pushed);
  out.begin(kFaults);
  for (std::size_t i = 0; i < read_faults::kCauses; ++i) {
    const auto cause = static_cast<read_faults::Cause>(i);
    out.sample(read_faults::counted(cause), fmt::format(R"(cause="{}")", name_of(cause)));
  }
  out.single(kChanged, read_faults::changed_files().size());
  const fuse::Snapshot::Live live = counts.live.value_or(fuse::Snapshot::Live{});
  out.single(kWatched, live.watched);
  out.single(kUnwatched, live.unwatched);
  out.single(kNotices, live.notices);
  write_process(out, facts);
  return out.take();
}

}  // namespace pkgfs
