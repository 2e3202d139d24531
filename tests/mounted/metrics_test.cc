// SPDX-License-Identifier: MIT
// Risk: metrics that Prometheus can't read, that aren't what is documented, or a client that disturbs the mount.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <sstream>

#include <nlohmann/json.hpp>

#include "tests/mounted/mounted.h"
#include "tests/support/http.h"
#include "tests/support/patterns.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using std::chrono::seconds;
using std::chrono::steady_clock;

class Metrics : public MountedTest {
 protected:
  static std::string address_of(const MountedPackage& mount) {
    const ProcessResult result = run({kPkgfs, "stats", "--json", mount.path()});
    EXPECT_TRUE(result.ok()) << result.describe();
    return json::parse(result.out, nullptr, false).value("metrics", "");
  }
  [[nodiscard]] std::string socket() const { return dir_.path() / "metrics.sock"; }

  static void expect_works(const MountedPackage& mount) {
    EXPECT_TRUE(run({"ls", "-lR", mount.path()}).ok());
    EXPECT_FALSE(scrape(address_of(mount)).empty());
  }

  TempDir dir_;
  const std::string package_ = single("basic-v3");
};

/// The value of a sample; -1 if it isn't there.
double value_of(const std::string& text, const std::string& sample) {
  const std::size_t at = ("\n" + text).find("\n" + sample + " ");
  return at == std::string::npos ? -1 : std::stod(text.substr(at + sample.size()));
}

TEST_F(Metrics, AgreeWithWhatWasDone) {
  const MountedPackage mount(kPkgfs, package_, {"--metrics=127.0.0.1:0", "--skip-open=off", "--push=off"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const std::string address = address_of(mount);
  ASSERT_TRUE(matches(address, R"(127\.0\.0\.1:\d+)")) << address;
  const std::string before = scrape(address);
  std::size_t bytes = 0;
  int files = 0;
  for (const auto& [path, entry] : list_tree(mount.path())) {  // reads each file, once
    files += entry.type == "file" ? 1 : 0;
    bytes += entry.type == "file" ? entry.length : 0;
  }
  ASSERT_GT(files, 0);
  std::string after;
  const auto grown = [&](const std::string& sample) { return value_of(after, sample) - value_of(before, sample); };
  EXPECT_TRUE(eventually([&] {
    after = scrape(address);
    // A thread counts a request as ended a moment after the kernel has the reply.
    return grown(R"(pkgfs_fuse_requests_total{operation="release"})") == files &&
           value_of(after, R"(pkgfs_fuse_requests_in_flight{operation="readdirplus"})") == 0;
  })) << after;
  EXPECT_EQ(grown(R"(pkgfs_fuse_requests_total{operation="open"})"), files);
  EXPECT_EQ(grown("pkgfs_fuse_read_bytes_total"), static_cast<double>(bytes));
  for (const char* operation : {"lookup", "open", "read", "release", "readdirplus", "getattr"}) {
    const std::string label = std::string("{operation=\"") + operation + "\"";
    EXPECT_EQ(value_of(after, "pkgfs_fuse_requests_total" + label + "}"),
              value_of(after, "pkgfs_fuse_request_duration_seconds_count" + label + "}"))
        << operation;
    EXPECT_EQ(value_of(after, "pkgfs_fuse_errors_total" + label + ",errno=\"EIO\"}"), 0) << operation;
    EXPECT_EQ(value_of(after, "pkgfs_fuse_requests_in_flight" + label + "}"), 0) << operation;
  }
  EXPECT_GT(value_of(after, "process_resident_memory_bytes"), 1e6);
  EXPECT_GT(value_of(after, "process_open_fds"), 3);
}

TEST_F(Metrics, AreWhatPrometheusReads) {
  const MountedPackage mount(kPkgfs, package_, {"--metrics", "unix:" + socket()});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const std::string text = scrape("unix:" + socket());
  const std::string file = dir_.write("metrics", text);
  if (have_program("promtool")) {
    const ProcessResult checked = shell("promtool check metrics <" + file);
    EXPECT_TRUE(checked.ok()) << checked.describe();
    EXPECT_EQ(checked.err, "") << "it complains";
  }
  const ProcessResult parsed =
      shell("/usr/bin/python3 " + (source_directory() / "tests/mounted/parse_metrics.py").string() + " <" + file);
  if (parsed.err.find("No module named 'prometheus_client'") != std::string::npos) {
    GTEST_SKIP() << "no python3-prometheus-client";
  }
  ASSERT_TRUE(parsed.ok()) << parsed.describe();
  int histograms = 0;
  for (const json& family : json::parse(parsed.out)) {
    if (family["type"] != "histogram") {
      continue;
    }
    std::map<std::string, double> last;
    for (const json& sample : family["samples"]) {
      if (sample[0].get<std::string>().ends_with("_bucket")) {
        double& before = last[sample[1].value("operation", "")];
        EXPECT_GE(sample[2].get<double>(), before) << "buckets are cumulative: " << sample;
        before = sample[2];
        ++histograms;
      }
    }
  }
  EXPECT_GT(histograms, 100);
}

/// The rows of docs/METRICS.md about mounts: name, type, labels, stability, meaning.
std::vector<std::vector<std::string>> documented() {
  std::vector<std::vector<std::string>> rows;
  const std::string page = read_text(source_directory() / "docs/METRICS.md");
  std::istringstream lines(page.substr(0, page.find("\n## The driver for Kubernetes")));
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("| `")) {
      continue;
    }
    std::vector<std::string> cells;
    std::istringstream row(line.substr(1));
    for (std::string cell; std::getline(row, cell, '|');) {
      std::erase(cell, '`');
      cell.erase(0, std::min(cell.find_first_not_of(' '), cell.size()));
      cell.erase(cell.find_last_not_of(' ') + 1);
      cells.push_back(cell);
    }
    rows.push_back(cells);
  }
  return rows;
}

TEST_F(Metrics, AreThoseThatAreDocumented) {
  const MountedPackage mount(kPkgfs, package_, {"--metrics", "unix:" + socket()});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  std::istringstream lines(scrape("unix:" + socket()));
  std::map<std::string, std::vector<std::string>> served;  // name: type, labels, help
  std::string name;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("# HELP ")) {
      name = line.substr(7, line.find(' ', 7) - 7);
      served[name] = {"", "", line.substr(8 + name.size())};
    } else if (line.starts_with("# TYPE ")) {
      served[name][0] = line.substr(8 + name.size());
    } else if (const Groups sample = match_groups(line, R"(([a-z_]+)(\{(.*)\})? \S+)"); !sample.empty()) {
      EXPECT_TRUE(sample[1].starts_with(name)) << line;
      std::string labels;
      for (const Groups& label : find_all_groups(sample[3], R"re(([a-z]+)="(?:[^"\\]|\\.)*")re")) {
        labels += label[1] == "le" ? "" : (labels.empty() ? "" : ",") + label[1];
      }
      served[name][1] = labels;
    } else {
      ADD_FAILURE() << "not a line of the format: " << line;
    }
  }
  std::set<std::string> seen;
  for (const std::vector<std::string>& row : documented()) {
    ASSERT_EQ(row.size(), 6U) << row.front();
    ASSERT_TRUE(served.contains(row[0])) << row[0] << " is documented and not served";
    EXPECT_EQ(served[row[0]][0], row[1]) << row[0];
    EXPECT_EQ(served[row[0]][1], row[2]) << row[0];
    EXPECT_TRUE(row[4] == "stable" || row[4] == "experimental") << row[0];
    EXPECT_EQ(served[row[0]][2], row[5]) << row[0];
    const bool counts = row[1] == "counter";
    EXPECT_EQ(row[0].ends_with("_total"), counts) << row[0];
    seen.insert(row[0]);
  }
  for (const auto& [served_name, what] : served) {
    EXPECT_TRUE(seen.contains(served_name)) << served_name << " is served and not documented";
  }
}

TEST_F(Metrics, AreAskedForByNameAndMethod) {
  const MountedPackage mount(kPkgfs, package_, {"--metrics", "unix:" + socket()});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const std::vector<std::pair<std::string, std::string>> requests{
      {"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\n"},
      {"GET /metrics?x=y HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK\r\n"},
      {"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\n"},
      {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404 Not Found\r\n"},
      {"GET /metricsandmore HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found\r\n"},
      {"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 405 Method Not Allowed\r\n"},
      {"GET /metrics HTTP/1.1\r\nContent-Length: 900000\r\n\r\n" + std::string(50000, 'x'), "HTTP/1.1 200 OK\r\n"},
      {"nonsense\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
      {std::string(100, '\0') + "\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
      {"GET /metrics HTTP/1.1\r\nX: " + std::string(60000, 'x') + "\r\n\r\n", "HTTP/1.1 431 "}};
  for (const auto& [request, answer] : requests) {
    const std::string got = talk("unix:" + socket(), request);
    EXPECT_TRUE(got.starts_with(answer)) << request.substr(0, 60) << "\n" << got.substr(0, 200);
    if (request.starts_with("HEAD")) {
      EXPECT_TRUE(got.ends_with("\r\n\r\n")) << "no body";
      EXPECT_EQ(got.find("Content-Length: 0\r\n"), std::string::npos) << got;
    }
  }
  expect_works(mount);
}

TEST_F(Metrics, SlowAndManyClientsHoldNothing) {
  const MountedPackage mount(kPkgfs, package_, {"--metrics", "unix:" + socket()});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const auto begin = steady_clock::now();
  // More than are served at a time; none of them ever says all of its request.
  std::vector<UniqueFd> slow;
  for (int i = 0; i < 100; ++i) {
    slow.push_back(connect_to("unix:" + socket()));
    if (slow.back()) {
      EXPECT_EQ(::send(slow.back().get(), "GET /met", 8, MSG_NOSIGNAL), 8);
    }
  }
  EXPECT_TRUE(run({"ls", "-lR", mount.path()}).ok());
  EXPECT_TRUE(run({kPkgfs, "stats", mount.path()}).ok());
  EXPECT_LT(steady_clock::now() - begin, seconds(4)) << "the mount doesn't care";
  // The first ones are cut off after five seconds.
  EXPECT_EQ(read_rest(slow.front().get()), "");
  EXPECT_LT(steady_clock::now() - begin, seconds(8));
  slow.clear();
  EXPECT_TRUE(eventually([&] { return !scrape("unix:" + socket()).empty(); }));
  for (int i = 0; i < 100; ++i) {
    ASSERT_FALSE(scrape("unix:" + socket()).empty()) << i;
  }
  const fs::path descriptors = "/proc/" + std::to_string(mount.daemon()) + "/fd";
  EXPECT_TRUE(eventually([&] {
    return std::distance(fs::directory_iterator(descriptors), fs::directory_iterator()) < 30;
  })) << "connections stay open";
}

TEST_F(Metrics, ThatCantBeServedAreRefusedBeforeTheMount) {
  const MountedPackage first(kPkgfs, package_, {"--metrics", "unix:" + socket()});
  ASSERT_TRUE(first.ok()) << first.result().describe();
  const MountedPackage other(kPkgfs, package_, {"--metrics", "127.0.0.1:0"});
  ASSERT_TRUE(other.ok()) << other.result().describe();
  const std::string file = dir_.write("file", "x");
  const std::vector<std::tuple<std::string, int, std::string>> bad{
      {"unix:" + socket(), 9, "another process listens there"},
      {address_of(other), 9, "another process listens there"},
      {"unix:" + file, 2, "is not a socket"},
      {"unix:" + (dir_.path() / "absent/s").string(), 3, "No such file"},
      {"unix:/" + std::string(200, 'x'), 2, "at most 107 bytes"},
      {"unix:", 2, "no path"},
      {"example.org:80", 2, "isn't a numeric address"},
      {"127.0.0.1:99999", 2, "must be unix:PATH"},
      {"::1:80", 2, "needs brackets"},
      {"", 2, "must be unix:PATH"},
      {"192.0.2.1:0", 1, "Cannot assign requested address"}};
  for (const auto& [address, code, why] : bad) {
    const MountedPackage mount(kPkgfs, package_, {"--metrics", address});
    expect_refused(mount);
    EXPECT_EQ(mount.result().exit_code, code) << address << ": " << mount.result().describe();
    EXPECT_NE(mount.result().err.find("\"" + address + "\""), std::string::npos) << mount.result().describe();
    EXPECT_NE(mount.result().err.find(why), std::string::npos) << mount.result().describe();
  }
  EXPECT_EQ(read_text(file), "x");
  expect_works(first);
  expect_works(other);
}

TEST_F(Metrics, SocketsComeAndGoWithTheMount) {
  {
    const MountedPackage mount(kPkgfs, package_, {"-o", "metrics=unix:" + socket()});
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    EXPECT_TRUE(fs::is_socket(socket()));
  }
  EXPECT_FALSE(fs::exists(socket()));
  {
    const MountedPackage mount(kPkgfs, package_, {"--keeper=off", "--metrics", "unix:" + socket()});
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    ::kill(mount.daemon(), SIGKILL);
    EXPECT_TRUE(eventually([&] { return processes_with(mount.path()).empty(); }));
  }
  ASSERT_TRUE(fs::is_socket(socket())) << "left by the killed one";
  const MountedPackage mount(kPkgfs, package_, {"--metrics", "unix:" + socket()});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_FALSE(scrape("unix:" + socket()).empty());
}

TEST_F(Metrics, CostAThreadOnlyWhenTheyAreAskedFor) {
  const auto threads = [](const MountedPackage& mount) {
    return std::distance(fs::directory_iterator("/proc/" + std::to_string(mount.daemon()) + "/task"),
                         fs::directory_iterator());
  };
  const MountedPackage without(kPkgfs, package_);
  const MountedPackage with(kPkgfs, package_, {"--metrics", "unix:" + socket()});
  ASSERT_TRUE(without.ok() && with.ok());
  EXPECT_TRUE(eventually([&] { return threads(with) == threads(without) + 1; }));
  EXPECT_EQ(address_of(without), "");
}

}  // namespace
}  // namespace pkgfs::test
