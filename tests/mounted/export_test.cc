// SPDX-License-Identifier: MIT
// Risk: an exported archive or image differs from the mount, or between two runs.
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <set>

#include "core/base/hash.h"
#include "tests/mounted/export.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// Path, type, mode, time, size of files, link target: one line each, sorted.
std::string listing(const fs::path& root) {
  const ProcessResult found =
      shell(R"(find . \( -type d -printf '%P %y %m %T@\n' \) -o -printf '%P %y %m %T@ %s %l\n' | sort)",
            {.directory = root.string()});
  EXPECT_TRUE(found.ok()) << found.describe();
  return found.out;
}

/// Unmounts at the end of the scope.
class KernelMount {
 public:
  KernelMount(const fs::path& image, fs::path target) : target_(std::move(target)) {
    fs::create_directories(target_);
    ok_ = ::mount(image.c_str(), target_.c_str(), "erofs", MS_RDONLY | MS_NODEV | MS_NOSUID, "") == 0;
    error_ = errno;
  }
  ~KernelMount() {
    if (ok_) {
      EXPECT_EQ(::umount2(target_.c_str(), 0), 0) << target_;
    }
  }
  KernelMount(const KernelMount&) = delete;
  KernelMount& operator=(const KernelMount&) = delete;
  [[nodiscard]] bool ok() const { return ok_; }
  /// Whether the kernel has EROFS from files (Linux 6.12).
  [[nodiscard]] bool is_unknown() const { return !ok_ && (error_ == ENODEV || error_ == ENOTBLK || error_ == EPERM); }
  [[nodiscard]] const fs::path& path() const { return target_; }

 private:
  fs::path target_;
  bool ok_ = false;
  int error_ = 0;
};

using Export = ExportTest;

constexpr const char* kPackages[] = {"basic-v1", "entry-inferred-v3", "deep-v3",     "empties-v2", "names-v3",
                                     "order-v1", "random1-v3",        "symlinks-v3", "sizes-v2",   "times-v3"};

TEST_F(Export, AnArchiveHasWhatExtractWrites) {
  for (const char* name : kPackages) {
    SCOPED_TRACE(name);
    const fs::path extracted = at(std::string(name) + "-extracted");
    ASSERT_TRUE(run({kPkgfs, "extract", single(name), extracted.string()}).ok());
    const fs::path unpacked = at(std::string(name) + "-unpacked");
    fs::create_directory(unpacked);
    const ProcessResult tar =
        shell("\"$PKGFS\" export \"$PACKAGE\" - | tar -xp --warning=no-timestamp -f - 2>&1",
              {.directory = unpacked.string(), .environment = {{"PKGFS", kPkgfs}, {"PACKAGE", single(name)}}});
    ASSERT_TRUE(tar.ok()) << tar.describe();
    EXPECT_EQ(tar.out, "") << "tar has nothing to complain about";
    EXPECT_EQ(difference(list_tree(extracted), list_tree(unpacked)), "");
    EXPECT_EQ(listing(unpacked), listing(extracted));
  }
}

TEST_F(Export, ASquashfsImageHasWhatExtractWrites) {
  if (!have_program("sqfstar") || !have_program("unsquashfs")) {
    GTEST_SKIP() << "squashfs-tools isn't installed";
  }
  for (const char* name : kPackages) {
    SCOPED_TRACE(name);
    const ProcessResult written = write("squashfs", single(name), "image", {"--force"});
    ASSERT_TRUE(written.ok()) << written.describe();
    const fs::path unpacked = at(std::string(name) + "-unpacked");
    ASSERT_TRUE(run({"unsquashfs", "-q", "-n", "-d", unpacked.string(), at("image").string()}).ok());
    const fs::path extracted = at(std::string(name) + "-extracted");
    ASSERT_TRUE(run({kPkgfs, "extract", single(name), extracted.string()}).ok());
    Tree expected = list_tree(extracted);
    for (auto& [path, entry] : expected) {
      constexpr std::int64_t kLatest = 4294967295;  // SquashFS has whole seconds, in 32 bits
      entry.mtime_ns = std::clamp<std::int64_t>(entry.mtime_ns / kSecond, 0, kLatest) * kSecond;
    }
    EXPECT_EQ(difference(expected, list_tree(unpacked)), "");
  }
}

TEST_F(Export, WithoutItsToolASquashfsImageIsRefused) {
  const ProcessResult missing = run({kPkgfs, "export", "--format=squashfs", single("basic-v3"), at("image").string()},
                                    {.environment = {{"PATH", "/nonexistent"}}});
  EXPECT_EQ(missing.exit_code, 5) << missing.describe();
  EXPECT_NE(missing.err.find("squashfs-tools"), std::string::npos) << missing.describe();
  EXPECT_TRUE(names().empty());
}

TEST_F(Export, EveryUserGetsTheSameBytesOfAPackage) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "to become another user needs root";
  }
  fs::permissions(dir_.path(), fs::perms::all);
  const std::string package = at("package.webc");
  fs::copy_file(single("random1-v3"), package);
  fs::permissions(package, fs::perms::all);
  std::vector<std::string> formats{"tar", "oci", "docker", "erofs"};
  if (have_program("sqfstar")) {
    formats.emplace_back("squashfs");
  }
  const std::vector<std::pair<std::string, std::string>> variables{
      {"PKGFS", kPkgfs}, {"PACKAGE", package}, {"HOME", "/nonexistent"}, {"WASMER_DIR", "/nonexistent"}};
  const auto write_both = [&](const std::string& format) {
    auto environment = variables;
    environment.emplace_back("ARGS", "export --offline --format=" + format);
    const ProcessResult one = shell("umask 022; \"$PKGFS\" $ARGS \"$PACKAGE\" one-" + format + ".tar",
                                    {.directory = dir_.path().string(), .environment = environment});
    environment.insert(environment.end(),
                       {{"TZ", "Asia/Tokyo"}, {"LC_ALL", "C.UTF-8"}, {"SOURCE_DATE_EPOCH", "86400"}});
    const ProcessResult two =
        shell("umask 077; cd / && setpriv --reuid=65534 --regid=65534 --clear-groups \"$PKGFS\" $ARGS \"$PACKAGE\" " +
                  at("two-" + format + ".tar").string(),
              {.environment = environment});
    ASSERT_TRUE(one.ok()) << one.describe();
    ASSERT_TRUE(two.ok()) << two.describe();
  };
  for (const std::string& format : formats) {
    write_both(format);
  }
  sleep_ms(1100);  // another second
  for (const std::string& format : formats) {
    SCOPED_TRACE(format);
    const std::string first = file_sha256(at("one-" + format + ".tar"));
    EXPECT_EQ(file_sha256(at("two-" + format + ".tar")), first);
    ASSERT_TRUE(write(format, package, "three-" + format + ".tar").ok());
    EXPECT_EQ(file_sha256(at("three-" + format + ".tar")), first);
  }
}

TEST_F(Export, AnImageOfTheKernelEqualsTheMount) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "mount(2) needs root";
  }
  std::vector<std::pair<std::string, Arguments>> packages;
  for (const std::string& name : fixture_names("webc", ".webc")) {
    packages.emplace_back(single(name), Arguments{});
  }
  for (const std::string& set : fixture_names("expected", ".json")) {
    const auto golden = read_json(fixtures() / "expected" / (set + ".json"));
    for (const auto& [root, expected] : golden.items()) {
      if (expected.contains("tree")) {  // one of each set, or the test would take minutes
        packages.emplace_back(root, Arguments{"--registry", registry(set)});
        break;
      }
    }
  }
  std::size_t compared = 0;
  for (const auto& [package, places] : packages) {
    SCOPED_TRACE(package + (places.empty() ? "" : " of " + places.back()));
    Arguments options{"--offline"};
    options.insert(options.end(), places.begin(), places.end());
    const ProcessResult written = write("erofs", package, "image", [&] {
      Arguments with = options;
      with.emplace_back("--force");
      return with;
    }());
    MountedPackage mount(kPkgfs, package, options);
    EXPECT_EQ(written.ok(), mount.ok()) << written.describe() << mount.result().describe();
    if (!mount.ok()) {
      continue;
    }
    const ProcessResult checked = run({"fsck.erofs", at("image").string()});
    EXPECT_TRUE(checked.ok()) << checked.describe();
    const KernelMount kernel(at("image"), at("kernel"));
    if (kernel.is_unknown()) {
      GTEST_SKIP() << "the kernel can't mount EROFS from a file";
    }
    ASSERT_TRUE(kernel.ok());
    EXPECT_EQ(difference(list_tree(mount.path()), list_tree(kernel.path())), "");
    EXPECT_EQ(listing(kernel.path()), listing(mount.path()));
    const ProcessResult attributes = run({"getfattr", "-R", "-d", "-m", "-", kernel.path().string()});
    EXPECT_EQ(attributes.out, "") << "the mount lists none, either";
    ++compared;
  }
  EXPECT_GT(compared, 60U);
}

TEST_F(Export, LargeDirectoriesAndFilesAreWholeInAnImageOfTheKernel) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "mount(2) needs root";
  }
  PackageBuilder builder("acme/large@1.0.0");
  for (int i = 0; i < 5000; ++i) {
    builder.file("data", "many/" + std::string(static_cast<std::size_t>(i % 200), 'n') + std::to_string(i),
                 std::to_string(i));
  }
  // Around the sizes at which the end of a file goes from behind the inode to a block of its own.
  for (const std::size_t size : std::initializer_list<std::size_t>{0, 1, 2047, 2048, 2049, 4095, 4096, 4097, 6143, 6144,
                                                                   6145, 1048575, 1048577, 3000000}) {
    builder.file("data", "sizes/" + std::to_string(size), std::string(size, static_cast<char>('a' + size % 26)));
  }
  builder.file("data", "!before the dot", "x").file("data", "-", "y");
  builder.link("data", "long", std::string(4000, 'l')).mount("/", "data");
  const fs::path package = dir_.path() / "large.webc";
  builder.write(package);
  ASSERT_TRUE(write("erofs", package, "image").ok());
  EXPECT_TRUE(run({"fsck.erofs", at("image").string()}).ok());
  MountedPackage mount(kPkgfs, package);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const KernelMount kernel(at("image"), at("kernel"));
  if (kernel.is_unknown()) {
    GTEST_SKIP() << "the kernel can't mount EROFS from a file";
  }
  ASSERT_TRUE(kernel.ok());
  EXPECT_EQ(difference(list_tree(mount.path()), list_tree(kernel.path())), "");
  EXPECT_EQ(listing(kernel.path()), listing(mount.path()));
  for (const char* parent : {"many", "sizes"}) {
    EXPECT_TRUE(fs::equivalent(kernel.path() / parent / "..", kernel.path()));
  }
}

/// The digests of the layers of the OCI layout `directory`; checks that each blob has its hash and size.
std::vector<std::string> layers_of(const fs::path& directory) {
  const auto blob = [&](const json& descriptor) {
    const std::string digest = descriptor.at("digest");
    const fs::path path = directory / "blobs/sha256" / digest.substr(std::string("sha256:").size());
    EXPECT_EQ("sha256:" + file_sha256(path), digest);
    EXPECT_EQ(fs::file_size(path), descriptor.at("size").get<std::uint64_t>());
    return path;
  };
  const json manifest = read_json(blob(read_json(directory / "index.json").at("manifests").at(0)));
  const json config = read_json(blob(manifest.at("config")));
  std::vector<std::string> layers;
  for (const json& layer : manifest.at("layers")) {
    const ProcessResult plain = shell("gzip -dc " + blob(layer).string() + " | sha256sum");
    EXPECT_EQ("sha256:" + plain.out.substr(0, 64),
              config.at("rootfs").at("diff_ids").at(layers.size()).get<std::string>());
    layers.push_back(layer.at("digest"));
  }
  return layers;
}

TEST_F(Export, PackagesWithTheSameDependencyShareItsLayer) {
  const fs::path registry = at("registry");
  PackageBuilder("acme/lib@1.0.0").file("data", "lib/common", "shared").mount("/", "data").publish(registry);
  for (const char* name : {"one", "two"}) {
    PackageBuilder(std::string("acme/") + name + "@1.0.0")
        .file("data", std::string("etc/") + name, name)
        .mount("/", "data")
        .use("lib", "acme/lib@1.0.0")
        .mount("/", "data", "lib")
        .publish(registry);
    const ProcessResult written =
        write("oci", std::string("acme/") + name, name, {"--offline", "--registry", registry.string()});
    ASSERT_TRUE(written.ok()) << written.describe();
  }
  const std::vector<std::string> one = layers_of(at("one"));
  const std::vector<std::string> two = layers_of(at("two"));
  ASSERT_EQ(one.size(), 2U);
  ASSERT_EQ(two.size(), 2U);
  EXPECT_EQ(one[0], two[0]);
  EXPECT_NE(one[1], two[1]);
}

TEST_F(Export, AnImageOfManyPackagesHasNoMoreLayersThanDockerTakes) {
  constexpr int kLibraries = 130;
  const fs::path registry = at("registry");
  PackageBuilder root("acme/many@1.0.0");
  root.file("data", "root", "root").mount("/", "data");
  for (int i = 0; i < kLibraries; ++i) {
    const std::string name = "lib" + std::to_string(i);
    PackageBuilder("acme/" + name + "@1.0.0").file("data", name, name).mount("/", "data").publish(registry);
    root.use(name, "acme/" + name + "@1.0.0").mount("/", "data", name);
  }
  root.publish(registry);
  const ProcessResult written = write("oci", "acme/many", "image", {"--offline", "--registry", registry.string()});
  ASSERT_TRUE(written.ok()) << written.describe();
  EXPECT_EQ(layers_of(at("image")).size(), 120U);
  const ProcessResult docker =
      write("docker", "acme/many", "image.tar", {"--offline", "--registry", registry.string()});
  ASSERT_TRUE(docker.ok()) << docker.describe();
  const ProcessResult listed = shell(
      "mkdir all && tar -xf image.tar -C all && for l in all/*.tar; do tar -tf $l; done | sort | uniq -c | sort -rn",
      {.directory = dir_.path().string()});
  EXPECT_EQ(std::count(listed.out.begin(), listed.out.end(), '\n'), kLibraries + 1) << listed.describe();
  EXPECT_NE(listed.out.find("      1 lib129\n"), std::string::npos) << "each file is in one layer";
}

TEST_F(Export, ANameThatMeansADeletionInALayerIsRefused) {
  const fs::path package = dir_.path() / "whiteout.webc";
  PackageBuilder("acme/whiteout@1.0.0").file("data", "etc/.wh.passwd", "x").mount("/", "data").write(package);
  for (const char* format : {"oci", "docker"}) {
    const ProcessResult refused = write(format, package, "out");
    EXPECT_EQ(refused.exit_code, 5) << refused.describe();
    EXPECT_NE(refused.err.find("/etc/.wh.passwd"), std::string::npos) << refused.describe();
  }
  EXPECT_EQ(names(), std::vector<std::string>{"whiteout.webc"});
  EXPECT_TRUE(write("tar", package, "out").ok());
}

}  // namespace
}  // namespace pkgfs::test
