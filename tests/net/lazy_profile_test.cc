// SPDX-License-Identifier: MIT
// Risk: what readers of a lazy mount needed is forgotten, or the next mount fetches it in many small requests, fetches
// something else, or fails because of it.
#include <signal.h>

#include <fstream>

#include "core/lazy/sparse_file.h"
#include "tests/net/lazy_status.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using namespace std::chrono_literals;

constexpr std::uint64_t kBlock = SparseFile::kBlock;

class LazyProfile : public LazyStatus {
 protected:
  [[nodiscard]] fs::path profile() const { return checkouts() / (server_->sha256(kPackage) + ".profile"); }
  [[nodiscard]] fs::path lock() const { return home_.path() / "pkgfs.lock"; }
  static std::string noise(unsigned number) { return random_text(20 * 1024, number); }

  /// The blocks that a profile names.
  static std::uint64_t blocks_in(const std::string& profile) {
    std::istringstream fields(profile);
    std::string field;
    fields >> field >> field;
    std::uint64_t blocks = 0;
    for (int list = 0; list < 4 && fields >> field; ++list) {
      std::istringstream ranges(field == "-" ? "" : field);
      for (std::string range; std::getline(ranges, range, ',');) {
        const std::size_t plus = range.find('+');
        blocks += plus == std::string::npos ? 1 : std::stoull(range.substr(plus + 1), nullptr, 16);
      }
    }
    return blocks;
  }
  /// The ranges that readers of the last mount needed.
  static std::string last_mount_in(const std::string& profile) {
    std::istringstream fields(profile);
    std::string field;
    fields >> field >> field >> field >> field;
    return field;
  }
  /// Reads two small files, and a byte of one whose checksum covers 3 MiB.
  void read_some(const MountedPackage& mounted) const {
    EXPECT_TRUE(read_text(mounted / "small8") == noise(8));
    EXPECT_TRUE(read_text(mounted / "small1") == noise(1));
    std::ifstream file(mounted / "u-rest", std::ios::binary);
    EXPECT_EQ(file.get(), static_cast<unsigned char>(random_text(3 * kMiB, 101).front()));
  }
  /// A mount of which some files are read, so that there is a profile. Returns how many requests for parts it made.
  std::size_t record() const {
    server_->clear_requests();
    const auto mounted = mount({"--background=off"});
    EXPECT_TRUE(mounted->ok()) << mounted->result().describe();
    read_some(*mounted);
    EXPECT_TRUE(mounted->unmount().ok());
    EXPECT_TRUE(fs::exists(profile()));
    return count_files(*server_);
  }
  /// A new mount has all that is in the profile before a reader asks, in a few requests. Readers cause none then.
  void expect_fetched_first(const Arguments& options, std::uint64_t blocks) const {
    server_->clear_requests();
    Arguments all{"--background=off"};
    all.insert(all.end(), options.begin(), options.end());
    const auto mounted = mount(all);
    ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
    const auto local = [&] { return object_of(*mounted).at("lazy").at("local").get<std::uint64_t>(); };
    ASSERT_TRUE(eventually([&] { return local() >= blocks * kBlock; }, 15s)) << local() << " of " << blocks * kBlock;
    const std::size_t requests = count_files(*server_);
    // The beginning of the container, 3 MiB in parts of 1 MiB or less, and what the small files need.
    EXPECT_LE(requests, 7U);
    EXPECT_LE(local(), blocks * kBlock + (256U << 10U));
    read_some(*mounted);
    EXPECT_EQ(count_files(*server_), requests);
    EXPECT_TRUE(read_text(*mounted / "t-large") == random_text(6 * kMiB, 100)) << "the rest is still lazy";
  }
  void forget_container() const { fs::remove_all(checkouts() / "__temp__"); }
};

TEST_F(LazyProfile, TheNextMountFetchesInOneGoWhatReadersNeeded) {
  (void)record();
  const std::string recorded = read_text(profile());
  forget_container();
  expect_fetched_first({}, blocks_in(recorded));
}

TEST_F(LazyProfile, ReadsOfBytesThatAreHereAreRecorded) {
  // A file of this length is read without a wait for its checksum.
  const std::string content = random_text(10 * kMiB, 300);
  PackageBuilder builder("acme/long@1.0.0");
  builder.file("data", "long", content).mount("/", "data");
  const fs::path path = home_.path() / "long.webc";
  builder.write(path);
  server_->add_package(path);
  const fs::path recorded = checkouts() / (server_->sha256("acme/long@1.0.0") + ".profile");
  std::string first;
  for (int i = 0; i < 3; ++i) {
    forget_container();
    MountedPackage mounted(kPkgfs, "acme/long@1.0.0",
                           {"--registry", server_->endpoint(), "--lazy=on", "--background=off"},
                           ProcessOptions{.environment = environment()});
    ASSERT_TRUE(mounted.ok()) << mounted.result().describe();
    const auto local = [&] { return object_of(mounted).at("lazy").at("local").get<std::uint64_t>(); };
    ASSERT_TRUE(eventually([&] { return i == 0 || local() >= blocks_in(first) * kBlock; }, 15s));
    fs::remove(recorded);  // so that this mount has to make it again
    std::ifstream file(mounted / "long", std::ios::binary);
    for (const std::size_t at : {5 * kMiB, 2 * kMiB, 8 * kMiB}) {
      std::string bytes(100 * 1024, '\0');
      file.seekg(static_cast<std::streamoff>(at));
      EXPECT_TRUE(file.read(bytes.data(), static_cast<std::streamsize>(bytes.size())));
      EXPECT_TRUE(bytes == content.substr(at, bytes.size()));
    }
    file.close();
    EXPECT_TRUE(mounted.unmount().ok());
    ASSERT_TRUE(fs::exists(recorded)) << i;
    first = i == 0 ? read_text(recorded) : first;
    EXPECT_EQ(last_mount_in(read_text(recorded)), last_mount_in(first)) << i;
  }
  EXPECT_GE(blocks_in(first) * kBlock, 300U << 10U);
}

TEST_F(LazyProfile, ALockFileCarriesIt) {
  const Arguments resolve{"resolve", kPackage, "--registry", server_->endpoint(), "--lock", lock()};
  ASSERT_TRUE(pkgfs(resolve).ok());
  const std::string plain = read_text(lock());
  EXPECT_EQ(plain.find("profile"), std::string::npos);
  Arguments with = resolve;
  with.emplace_back("--with-profile");
  const ProcessResult none = pkgfs(with);
  EXPECT_TRUE(none.ok()) << none.describe();
  EXPECT_TRUE(has(none.err, "--with-profile")) << "nothing was recorded: " << none.describe();
  EXPECT_EQ(read_text(lock()), plain);

  (void)record();
  const std::string recorded = read_text(profile());
  ASSERT_TRUE(pkgfs(with).ok());
  const Json document = Json::parse(read_text(lock()));
  EXPECT_EQ(document.at("pkgfs_lock"), 3);
  EXPECT_EQ(document.at("packages").at(0).at("profile"), recorded);
  fs::remove_all(cache());
  expect_fetched_first({"--lock", lock()}, blocks_in(recorded));

  Json edited = document;
  edited["packages"][0]["profile"] = recorded + "0";
  std::ofstream(lock()) << edited.dump();
  const auto refused = mount({"--lock", lock()});
  EXPECT_FALSE(refused->result().ok());
  EXPECT_TRUE(has(refused->result().err, R"(packages\.0\.profile)")) << refused->result().describe();
  EXPECT_EQ(pkgfs({"resolve", kPackage, "--with-profile"}).exit_code, 2);
}

TEST_F(LazyProfile, ADamagedOneChangesNothing) {
  const std::size_t without = record();
  const std::string good = read_text(profile());
  const std::string of_other_size = "2 1000 - 0 - - ";
  for (const std::string& bad :
       {std::string(), good.substr(0, good.size() - 1), good + "\n", std::string(1U << 20U, 'a'),
        of_other_size + to_hex(sha256(of_other_size.substr(0, of_other_size.size() - 1))).substr(0, 8)}) {
    forget_container();
    std::ofstream(profile()) << bad;
    EXPECT_EQ(record(), without) << bad.substr(0, 100);
    EXPECT_EQ(read_text(profile()), good) << "it is replaced";
  }
  forget_container();
  fs::remove(profile());
  fs::create_directory(profile());
  const auto mounted = mount({"--background=off"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  read_some(*mounted);
  EXPECT_TRUE(mounted->unmount().ok());
}

TEST_F(LazyProfile, OneOfAnotherVersionIsNotUsed) {
  (void)record();
  PackageBuilder builder("acme/big@2.0.0");
  for (unsigned i = 0; i < 10; ++i) {
    builder.file("data", "small" + std::to_string(i), noise(i));
  }
  builder.file("data", "t-large", random_text(6 * kMiB, 200));
  builder.file("data", "u-rest", random_text(3 * kMiB, 201));
  builder.mount("/", "data");
  const fs::path path = home_.path() / "next.webc";
  builder.write(path);
  server_->add_package(path);
  server_->clear_requests();
  const MountedPackage mounted(kPkgfs, "acme/big@2.0.0",
                               {"--registry", server_->endpoint(), "--lazy=on", "--background=off"},
                               ProcessOptions{.environment = environment()});
  ASSERT_TRUE(mounted.ok()) << mounted.result().describe();
  EXPECT_TRUE(read_text(mounted / "small4") == noise(4));
  EXPECT_LT(sent(), kMiB);
}

TEST_F(LazyProfile, IsKeptWhileTheMountRunsAndOnlyByMounts) {
  const Arguments at{"cat", kPackage, "/small2", "--registry", server_->endpoint(), "--lazy=on"};
  EXPECT_TRUE(pkgfs(at).out == noise(2));
  EXPECT_FALSE(fs::exists(profile()));
  const auto mounted = mount({"--background=off", "--keeper=off"});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  read_some(*mounted);
  EXPECT_TRUE(eventually([&] { return fs::exists(profile()); }, 20s));
  ::kill(mounted->daemon(), SIGKILL);
  ASSERT_TRUE(eventually([&] { return processes_with(mounted->path()).empty(); }));
  force_unmount(mounted->path());
  const std::string recorded = read_text(profile());
  EXPECT_GE(blocks_in(recorded) * kBlock, 3 * kMiB);
  {
    const auto unread = mount({"--background=off"});
    ASSERT_TRUE(unread->ok()) << unread->result().describe();
    EXPECT_TRUE(unread->unmount().ok());
  }
  EXPECT_EQ(read_text(profile()), recorded) << "a mount without readers has nothing to say";
  const auto whole = mount();
  ASSERT_TRUE(whole->ok()) << whole->result().describe();
  read_some(*whole);
  EXPECT_TRUE(wait_for(*whole, {"--timeout=60"}).ok());
  EXPECT_TRUE(fs::exists(profile())) << "it stays beside the complete package";
}

}  // namespace
}  // namespace pkgfs::test
