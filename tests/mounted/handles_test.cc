// SPDX-License-Identifier: MIT
// Risk: file handles go stale when the kernel forgets what it knew, or when the daemon is started again: servers of
// NFS, backup tools and fanotify hold them. Or a handle leads to another file than the one that it was made of.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

#include "core/base/unique_fd.h"
#include "tests/mounted/mounted.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

/// A handle as open_by_handle_at(2) takes it.
struct Handle {
  std::string bytes;
  struct stat status{};
};

class FileHandles : public MountedTest {
 protected:
  void SetUp() override {
    MountedTest::SetUp();
    if (!IsSkipped() && ::geteuid() != 0) {
      GTEST_SKIP() << "only root opens handles";
    }
  }

  /// By path below the mount.
  static std::map<std::string, Handle> handles_below(const fs::path& root) {
    std::map<std::string, Handle> handles;
    for (const auto& [path, entry] : list_tree(root, {.content = false})) {
      const std::string whole = root.string() + path;
      Handle handle{std::string(sizeof(file_handle) + MAX_HANDLE_SZ, '\0')};
      auto* const raw = reinterpret_cast<file_handle*>(handle.bytes.data());
      raw->handle_bytes = MAX_HANDLE_SZ;
      int mount = 0;
      EXPECT_EQ(::name_to_handle_at(AT_FDCWD, whole.c_str(), raw, &mount, 0), 0) << std::strerror(errno);
      EXPECT_EQ(::lstat(whole.c_str(), &handle.status), 0);
      handles.emplace(path, handle);
    }
    return handles;
  }

  static UniqueFd open(const fs::path& root, const Handle& handle) {
    const UniqueFd mount(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    std::string bytes = handle.bytes;
    const int flags = S_ISLNK(handle.status.st_mode) ? O_PATH : O_RDONLY;
    return UniqueFd(::open_by_handle_at(mount.get(), reinterpret_cast<file_handle*>(bytes.data()), flags | O_CLOEXEC));
  }

  static void drop_caches() { std::ofstream("/proc/sys/vm/drop_caches") << "2\n"; }

  /// Every handle leads to the entry that it was made of, at its path.
  static void expect_valid(const fs::path& root, const std::map<std::string, Handle>& handles) {
    int wrong = 0;
    for (auto one = handles.rbegin(); one != handles.rend() && wrong < 5; ++one) {  // the deepest first
      const auto& [path, handle] = *one;
      const UniqueFd fd = open(root, handle);
      struct stat status{};
      const bool is_it = fd && ::fstat(fd.get(), &status) == 0 && status.st_ino == handle.status.st_ino &&
                         status.st_mode == handle.status.st_mode && status.st_size == handle.status.st_size;
      EXPECT_TRUE(is_it) << path << ": " << (fd ? "another entry" : std::strerror(errno));
      wrong += is_it ? 0 : 1;
      if (is_it && S_ISDIR(status.st_mode)) {
        EXPECT_EQ(fs::read_symlink("/proc/self/fd/" + std::to_string(fd.get())), root.string() + path);
        EXPECT_GE(UniqueFd(::openat(fd.get(), "..", O_RDONLY | O_CLOEXEC)).get(), 0) << path;
      }
    }
  }

  TempDir temp_;
};

struct Mounted {
  std::string package;
  Arguments options;
};

class EveryFileHandle : public FileHandles, public ::testing::WithParamInterface<Mounted> {};

TEST_P(EveryFileHandle, OutlivesTheKernelsMemoryAndTheDaemon) {
  std::map<std::string, Handle> handles;
  {
    const MountedPackage mount(kPkgfs, GetParam().package, GetParam().options);
    ASSERT_TRUE(mount.ok()) << mount.result().describe();
    handles = handles_below(mount.path());
    ASSERT_FALSE(handles.empty());
    expect_valid(mount.path(), handles);
    drop_caches();
    expect_valid(mount.path(), handles);
  }
  const MountedPackage again(kPkgfs, GetParam().package, GetParam().options);
  ASSERT_TRUE(again.ok()) << again.result().describe();
  expect_valid(again.path(), handles);
}

INSTANTIATE_TEST_SUITE_P(Packages, EveryFileHandle,
                         ::testing::Values(Mounted{single("many-v1"), {}}, Mounted{single("many-v2"), {}},
                                           Mounted{single("many-v3"), {}}, Mounted{single("symlinks-v3"), {}},
                                           Mounted{"acme/top@5.0.0", {"--registry", registry("nested-v3")}},
                                           Mounted{"acme/top@5.0.0", {"--registry", registry("nested-v2")}},
                                           Mounted{single("many-v3"), {"--skip-open=off"}}),
                         [](const auto& sample) {
                           return test_name(fs::path(sample.param.package).filename().string() +
                                            std::to_string(sample.index));
                         });

TEST_F(FileHandles, OfAnotherVersionAreStale) {
  const auto package = [&](const std::string& version, const std::string& name) {
    const fs::path path = temp_.path() / (version + ".webc");
    PackageBuilder("acme/p@" + version).mount("/data", "data").file("data", name, "content").write(path);
    return path.string();
  };
  std::map<std::string, Handle> handles;
  {
    const MountedPackage first(kPkgfs, package("1.0.0", "d/a"), {"--no-commands"});
    ASSERT_TRUE(first.ok()) << first.result().describe();
    handles = handles_below(first.path());
  }
  const MountedPackage second(kPkgfs, package("2.0.0", "d/b"), {"--no-commands"});
  ASSERT_TRUE(second.ok()) << second.result().describe();
  for (const auto& [path, handle] : handles) {
    EXPECT_FALSE(open(second.path(), handle)) << path;
    EXPECT_EQ(errno, ESTALE) << path;
  }
}

/// nfs-ganesha, which serves a directory to clients on this machine. Ends with the object.
class Ganesha {
 public:
  Ganesha(const fs::path& place, const fs::path& exported) : url_("nfs://127.0.0.1/x") {
    fs::create_directories(place / "recovery");
    const std::string port = std::to_string(20000 + ::getpid() % 10000);
    query_ = "?version=4&nfsport=" + port;
    std::ofstream(place / "conf") << "NFS_CORE_PARAM { Protocols = 4; NFS_Port = " << port
                                  << "; Bind_addr = 127.0.0.1; Enable_NLM = false; Enable_RQUOTA = false; "
                                     "Enable_UDP = none; }\n"
                                     "NFSV4 { Graceless = true; RecoveryBackend = fs; RecoveryRoot = "
                                  << (place / "recovery").string()
                                  << "; Minor_Versions = 0; }\nEXPORT { Export_Id = 77; Path = " << exported.string()
                                  << "; Pseudo = /x; Access_Type = RO; Squash = No_Root_Squash; SecType = sys; "
                                     "Filesystem_Id = 7.7; FSAL { Name = VFS; } }\n";
    log_ = place / "log";
    server_.emplace(
        Arguments{"ganesha.nfsd", "-F", "-f", place / "conf", "-L", log_, "-p", place / "pid", "-N", "NIV_EVENT"});
  }

  [[nodiscard]] bool is_ready() {
    return eventually([&] { return run({"nfs-ls", url_ + query_}).ok(); }, std::chrono::seconds(20));
  }
  [[nodiscard]] std::string log() const { return read_text(log_); }
  [[nodiscard]] ProcessResult read(const std::string& path) const { return run({"nfs-cat", url_ + path + query_}); }
  [[nodiscard]] ProcessResult list(const std::string& path) const { return run({"nfs-ls", url_ + path + query_}); }

 private:
  std::string url_;
  std::string query_;
  fs::path log_;
  std::optional<Process> server_;
};

TEST_F(FileHandles, AnNfsServerGoesOn) {
  if (!have_program("ganesha.nfsd") || !have_program("nfs-cat")) {
    GTEST_SKIP() << "no nfs-ganesha, nfs-ganesha-vfs and libnfs-utils here";
  }
  // The daemon is replaced by another one at the same place, so that MountedPackage is of no use.
  const fs::path mountpoint = temp_.path() / "m";
  fs::create_directories(mountpoint);
  const MountGuard guard(mountpoint);
  const Arguments mount{kPkgfs, "mount", single("many-v3"), mountpoint};
  ASSERT_TRUE(run(mount).ok());
  std::optional<Ganesha> server(std::in_place, temp_.path() / "ganesha", mountpoint);
  if (!server->is_ready()) {
    GTEST_SKIP() << "nfs-ganesha can't serve the mount: " << server->log();
  }
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(mountpoint)) {
    if (entry.is_regular_file() && files.size() < 2000) {
      files.push_back(entry.path().string().substr(mountpoint.string().size()));
    }
  }
  ASSERT_GT(files.size(), 100U);
  const auto expect_right = [&](const char* when) {
    for (std::size_t i = 0; i < files.size(); i += files.size() / 20) {
      const ProcessResult result = server->read(files[i]);
      ASSERT_TRUE(result.ok()) << when << ": " << result.describe() << server->log();
      ASSERT_EQ(result.out, read_text(mountpoint.string() + files[i])) << when;
      ASSERT_TRUE(server->list(fs::path(files[i]).parent_path()).ok()) << when;
    }
  };
  expect_right("at first");
  drop_caches();
  expect_right("without the kernel's caches");
  server.reset();  // it holds the mount
  ASSERT_TRUE(eventually([&] { return run({kPkgfs, "unmount", mountpoint}).ok(); }));
  ASSERT_TRUE(run(mount).ok());
  server.emplace(temp_.path() / "ganesha", mountpoint);
  ASSERT_TRUE(server->is_ready()) << server->log();
  expect_right("after a restart");
}

}  // namespace
}  // namespace pkgfs::test
