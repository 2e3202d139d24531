// SPDX-License-Identifier: MIT
// Risk: nobody sees how far a lazy mount is, or why it doesn't get further.
#include "tests/net/lazy_status.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using Kind = Fault::Kind;
using Where = Fault::Where;
using nlohmann::json;
using namespace std::chrono_literals;

TEST_F(LazyStatus, TellsWhatIsLocalAndWhatWasFetched) {
  const auto mounted = mount({"--background=off", "--metrics", "unix:" + socket()});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  EXPECT_TRUE(matches(line_of(*mounted), R"(.* \(live, lazy [0-3] %: [0-9.]+ KiB of 9\.\d MiB are local\))"))
      << line_of(*mounted);
  const json before = object_of(*mounted);
  EXPECT_EQ(before.at("state"), "live") << "programs can use it";
  EXPECT_EQ(before.at("lazy").at("state"), "lazy");
  EXPECT_EQ(before.at("lazy").at("bytes"), fs::file_size(container_));
  EXPECT_LT(before.at("lazy").at("local"), kMiB);
  EXPECT_TRUE(before.at("lazy").at("problem").is_null());

  EXPECT_EQ(read_text(*mounted / "small3"), random_text(20 * 1024, 3));
  EXPECT_EQ(read_text(*mounted / "t-large").size(), 6 * kMiB);
  const json after = object_of(*mounted).at("lazy");
  EXPECT_GT(after.at("local"), 6 * kMiB);
  EXPECT_LT(after.at("local"), 9 * kMiB);
  EXPECT_EQ(after.at("percent"), after.at("local").get<std::uint64_t>() * 100 / fs::file_size(container_));

  const json counts = statistics(*mounted).at("lazy");
  EXPECT_EQ(counts.at("local"), after.at("local"));
  EXPECT_EQ(counts.at("background"), false);
  EXPECT_GE(counts.at("requests"), 2);
  EXPECT_EQ(counts.at("failed_requests"), 0);
  EXPECT_EQ(counts.at("fetched"), counts.at("local")) << "each byte once";
  EXPECT_EQ(counts.at("first_byte_ns").at("count"), counts.at("requests"));
  EXPECT_GT(counts.at("first_byte_ns").at("p50"), 1000);
  EXPECT_GE(counts.at("reads"), 2);
  EXPECT_EQ(counts.at("wait_ns").at("count"), counts.at("reads"));
  EXPECT_GT(counts.at("wait_ns").at("sum"), 1000);
  EXPECT_EQ(counts.at("waiting"), 0);
  EXPECT_EQ(counts.at("failed_reads"), 0);
  EXPECT_EQ(counts.at("checked"), 2);
  EXPECT_EQ(counts.at("mismatches"), 0);
  EXPECT_EQ(counts.at("containers").at(0).at("package"), kPackage);

  EXPECT_EQ(metric("pkgfs_lazy_bytes"), static_cast<double>(fs::file_size(container_)));
  EXPECT_EQ(metric("pkgfs_lazy_local_bytes"), counts.at("local").get<double>());
  EXPECT_EQ(metric("pkgfs_lazy_fetched_bytes_total"), counts.at("fetched").get<double>());
  EXPECT_EQ(metric("pkgfs_lazy_requests_total"), counts.at("requests").get<double>());
  EXPECT_EQ(metric("pkgfs_lazy_wait_seconds_count"), counts.at("reads").get<double>());
  EXPECT_EQ(metric("pkgfs_lazy_first_byte_seconds_bucket{le=\"+Inf\"}"), counts.at("requests").get<double>());
  EXPECT_EQ(metric("pkgfs_lazy_checked_files_total"), 2);
  EXPECT_EQ(metric("pkgfs_lazy_packages{state=\"lazy\"}"), 1);
  EXPECT_EQ(metric("pkgfs_lazy_problems"), 0);

  const std::string table = pkgfs({"stats", mounted->path()}).out;
  EXPECT_TRUE(has(table, R"(\nlazy \d\d %: \d\.\d MiB of 9\.\d MiB are local\n)")) << table;
  EXPECT_TRUE(has(table, R"(\n\d\.\d MiB fetched in \d+ requests, 0 failed; first byte: p50 \d)")) << table;
  EXPECT_TRUE(has(table, R"(\n\d+ reads waited for a server, 0 failed, 0 wait now; [0-9.]+ m?s in all)")) << table;
  EXPECT_NE(table.find("\n2 files checked, 0 mismatches\n"), std::string::npos) << table;
}

TEST_F(LazyStatus, AMountThatBecameWholeShowsAsAnyOther) {
  const auto mounted = mount({"--metrics", "unix:" + socket()});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  const ProcessResult waited = wait_for(*mounted, {"--timeout=20"});
  ASSERT_TRUE(waited.ok()) << waited.describe();
  EXPECT_EQ(waited.out + waited.err, "");
  expect_right_entry();
  EXPECT_TRUE(line_of(*mounted).ends_with(" (live)")) << line_of(*mounted);
  EXPECT_EQ(object_of(*mounted).at("lazy").at("state"), "whole");
  EXPECT_EQ(object_of(*mounted).at("lazy").at("percent"), 100);
  EXPECT_EQ(metric("pkgfs_lazy_packages{state=\"whole\"}"), 1);
  EXPECT_NE(pkgfs({"stats", mounted->path()}).out.find("\nwhole: all packages are local and checked\n"),
            std::string::npos);
}

TEST_F(LazyStatus, AMountThatWasNeverLazySaysNothing) {
  ASSERT_TRUE(pull().ok());
  server_->stop();
  const auto mounted = mount({"--metrics", "unix:" + socket()});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  EXPECT_TRUE(line_of(*mounted).ends_with(" (live)")) << line_of(*mounted);
  EXPECT_TRUE(object_of(*mounted).at("lazy").is_null());
  EXPECT_FALSE(statistics(*mounted).contains("lazy"));
  EXPECT_EQ(pkgfs({"stats", mounted->path()}).out.find("files checked"), std::string::npos);
  EXPECT_EQ(metric("pkgfs_lazy_bytes"), 0);
  EXPECT_TRUE(wait_for(*mounted, {"--timeout=0"}).ok());
}

TEST_F(LazyStatus, TellsWhyAServerDoesNotAnswer) {
  const auto mounted = mount({"--background=off", "--metrics", "unix:" + socket()});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  server_->stop();
  Process reader({"cat", *mounted / "t-large"});
  EXPECT_TRUE(eventually([&] { return metric("pkgfs_lazy_waiting_reads") >= 1; }, 1900ms));
  EXPECT_EQ(reader.wait().exit_code, 1);
  EXPECT_TRUE(has(line_of(*mounted), R"( \(live, lazy \d %: .* are local; .*(refused|connect).*\)$)"))
      << line_of(*mounted);
  EXPECT_FALSE(object_of(*mounted).at("lazy").at("problem").is_null());
  const json counts = statistics(*mounted).at("lazy");
  EXPECT_GE(counts.at("failed_reads"), 1);
  EXPECT_GE(counts.at("failed_requests"), 1);
  EXPECT_EQ(metric("pkgfs_lazy_problems"), 1);
  EXPECT_EQ(metric("pkgfs_lazy_failed_reads_total"), counts.at("failed_reads").get<double>());
  const ProcessResult doctor = pkgfs({"doctor", "--offline"});
  EXPECT_TRUE(has(doctor.out, "warning.*lazy \\d %")) << doctor.describe();

  const ProcessResult waited = wait_for(*mounted, {"--timeout=0.3"});
  EXPECT_EQ(waited.exit_code, 12) << waited.describe();
  EXPECT_NE(waited.err.find(object_of(*mounted).at("lazy").at("problem").get<std::string>()), std::string::npos)
      << waited.describe();

  server_->start();
  EXPECT_TRUE(eventually([&] { return shell("cat '" + (*mounted / "u-rest") + "' >/dev/null").ok(); }, 10s));
  EXPECT_TRUE(object_of(*mounted).at("lazy").at("problem").is_null());
  EXPECT_EQ(metric("pkgfs_lazy_problems"), 0);
}

TEST_F(LazyStatus, TellsThatAPackageHasAnotherHash) {
  server_->set_fault({.kind = Kind::kWrongHash, .where = Where::kGraphql});
  const auto mounted = mount({"--metrics", "unix:" + socket()});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  const ProcessResult waited = wait_for(*mounted, {"--timeout=20"});
  EXPECT_EQ(waited.exit_code, 4) << waited.describe();
  EXPECT_TRUE(line_of(*mounted).ends_with(" (tampered)")) << line_of(*mounted);
  EXPECT_EQ(object_of(*mounted).at("state"), "tampered");
  EXPECT_EQ(object_of(*mounted).at("lazy").at("state"), "tampered");
  EXPECT_EQ(metric("pkgfs_lazy_packages{state=\"tampered\"}"), 1);
  EXPECT_NE(pkgfs({"stats", mounted->path()}).out.find("\ntampered package: acme/big@1.0.0\n"), std::string::npos);
  const ProcessResult doctor = pkgfs({"doctor", "--offline"});
  EXPECT_EQ(doctor.exit_code, 1) << doctor.describe();
  EXPECT_TRUE(has(doctor.out, "problem.*another hash")) << doctor.describe();
}

}  // namespace
}  // namespace pkgfs::test
