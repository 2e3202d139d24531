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
  kRefreshes,
  kRefreshFailures,
  kVersions,
  kTakeovers,
  kPause,
  kLongestPause,
  kLazyPackages,
  kLazyProblems,
  kLazyBytes,
  kLazyLocal,
  kLazyRequests,
  kLazyFailedRequests,
  kLazyFetched,
  kLazyFirstByte,
  kLazyWait,
  kLazyWaiting,
  kLazyFailedReads,
  kLazyChecked,
  kLazyMismatches,
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
    MetricSpec{"pkgfs_refreshes_total", "counter", "", kExperimental,
               "Refreshes that made the mount show another version of its package."},
    MetricSpec{"pkgfs_refresh_failures_total", "counter", "", kExperimental, "Refreshes that failed."},
    MetricSpec{"pkgfs_versions", "gauge", "", kExperimental,
               "Versions of the package that are open, because they are shown, kept or still used."},
    MetricSpec{"pkgfs_takeovers_total", "counter", "", kExperimental,
               "Times that another daemon went on with the mount."},
    MetricSpec{"pkgfs_takeover_pause_seconds_total", "counter", "", kExperimental,
               "Time between the end of a daemon and the moment when the next one took requests."},
    MetricSpec{"pkgfs_takeover_pause_seconds_max", "gauge", "", kExperimental, "The longest such time."},
    MetricSpec{"pkgfs_lazy_packages", "gauge", "state", kExperimental,
               "Packages that weren't complete when the mount was made, by their state now."},
    MetricSpec{"pkgfs_lazy_problems", "gauge", "", kExperimental,
               "Packages of which more is needed, but whose server doesn't send it."},
    MetricSpec{"pkgfs_lazy_bytes", "gauge", "", kExperimental,
               "Size of the packages that weren't complete when the mount was made."},
    MetricSpec{"pkgfs_lazy_local_bytes", "gauge", "", kExperimental, "Of this size, what is local now."},
    MetricSpec{"pkgfs_lazy_requests_total", "counter", "", kExperimental, "Requests for a part of a package."},
    MetricSpec{"pkgfs_lazy_failed_requests_total", "counter", "", kExperimental,
               "Of these requests, those that failed."},
    MetricSpec{"pkgfs_lazy_fetched_bytes_total", "counter", "", kExperimental, "Bytes that these requests brought."},
    MetricSpec{"pkgfs_lazy_first_byte_seconds", "histogram", "", kExperimental,
               "Time from such a request to the first byte of its answer."},
    MetricSpec{"pkgfs_lazy_wait_seconds", "histogram", "", kExperimental, "Time that a read waited for a server."},
    MetricSpec{"pkgfs_lazy_waiting_reads", "gauge", "", kExperimental, "Reads that wait for a server now."},
    MetricSpec{"pkgfs_lazy_failed_reads_total", "counter", "", kExperimental,
               "Reads that failed because a server didn't send the right bytes."},
    MetricSpec{"pkgfs_lazy_checked_files_total", "counter", "", kExperimental,
               "Files whose hash was checked before the package was complete."},
    MetricSpec{"pkgfs_lazy_mismatches_total", "counter", "", kExperimental,
               "Of these files, those that didn't have the right hash."},
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

/// The series of one histogram. `Latency`: LatencyCounts, or something with the same members.
template <typename Latency>
void write_histogram(Writer& out, const Latency& latency, std::uint64_t count, const std::string& label) {
  const std::string before = label.empty() ? "" : label + ",";
  for (unsigned bit = kFirstShown; bit <= kLastShown; bit += kShownStep) {
    const std::uint64_t end = std::uint64_t{1} << bit;
    out.sample(latency.below(end), fmt::format(R"({}le="{}")", before, static_cast<double>(end) * kNanosecond),
               "_bucket");
  }
  out.sample(count, before + R"(le="+Inf")", "_bucket");
  out.sample(static_cast<double>(latency.total) * kNanosecond, label, "_sum");
  out.sample(count, label, "_count");
}

void write_durations(Writer& out, const fuse::Snapshot& counts) {
  out.begin(kDuration);
  for_each_operation(counts, [&out](const fuse::Snapshot::Operation& operation, const std::string& label) {
    write_histogram(out, operation, operation.answered, label);
  });
}

void write_lazy(Writer& out, const LazyState& lazy) {
  using State = LazyState::State;
  out.begin(kLazyPackages);
  for (const State state : {State::kLazy, State::kWhole, State::kTampered}) {
    out.sample(lazy.count(state), fmt::format(R"(state="{}")", name_of(state)));
  }
  out.single(kLazyProblems, std::ranges::count_if(lazy.containers, [](const LazyState::Container& container) {
               return !container.problem.empty();
             }));
  out.single(kLazyBytes, lazy.bytes());
  out.single(kLazyLocal, lazy.local());
  out.single(kLazyRequests, lazy.requests);
  out.single(kLazyFailedRequests, lazy.failed_requests);
  out.single(kLazyFetched, lazy.fetched);
  out.begin(kLazyFirstByte);
  write_histogram(out, lazy.first_bytes, lazy.first_bytes.count, "");
  out.begin(kLazyWait);
  write_histogram(out, lazy.waits, lazy.waits.count, "");
  out.single(kLazyWaiting, lazy.waiting);
  out.single(kLazyFailedReads, lazy.failed_reads);
  out.single(kLazyChecked, lazy.checked);
  out.single(kLazyMismatches, lazy.mismatches);
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

std::string metrics_text(const MountFacts& facts, const fuse::Snapshot& counts, const std::optional<LazyState>& lazy) {
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
  out.single(kRefreshes, facts.versions.refreshes);
  out.single(kRefreshFailures, facts.versions.failures);
  out.single(kVersions, facts.versions.open);
  out.single(kTakeovers, counts.takeovers);
  out.single(kPause, static_cast<double>(counts.pause_total) * kNanosecond);
  out.single(kLongestPause, static_cast<double>(counts.pause_longest) * kNanosecond);
  write_lazy(out, lazy.value_or(LazyState{}));
  write_process(out, facts);
  return out.take();
}

}  // namespace pkgfs
