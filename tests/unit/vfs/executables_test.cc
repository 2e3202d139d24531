// SPDX-License-Identifier: MIT
// Risk: a program of a container can't be executed; listings read files; a file has one mode now and another one later.
#include "core/vfs/executables.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <map>

#include "core/vfs/union_file_system.h"
#include "core/vfs/walk.h"
#include "core/vfs/webc_volume_file_system.h"
#include "core/webc/container.h"
#include "core/webc/writer.h"
#include "tests/support/fixtures.h"
#include "tests/unit/vfs/trees.h"

namespace pkgfs::vfs {
namespace {

using namespace std::string_literals;

bool may_be_program(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const std::string above = path.substr(0, slash);
  auto directory = std::make_shared<const OverlayPath>();
  for (const std::string_view name : path_components(above)) {
    directory = std::make_shared<const OverlayPath>(OverlayPath{directory, name, directory->depth + 1});
  }
  return is_program_name(*directory, path.substr(slash + 1));
}

TEST(ProgramNames, TheNameTellsWhatIsData) {
  for (const char* path : {"/bin/sh",
                           "/run",
                           "/app/start.sh",
                           "/app/tool.py",
                           "/app.wasm",
                           "/lib/app.wasm",
                           "/opt/tool-1.2",
                           "/bin/python3.12",
                           "/lib/git-core/git-log",
                           "/usr/lib/node_modules/npm/bin/npm-cli.js",
                           "/lib/x/bin/y.py",
                           "/lib64/ld-linux-x86-64.so.2",
                           "/lib/ld-musl-x86_64.so.1",
                           "/plugin.so",
                           "/share/app/start.sh",
                           "/.hidden",
                           "/app.linux-amd64",
                           "/a.",
                           "/share/man/bin/x",
                           "/libexec/tool.rb",
                           "/usr/local/bin/thing.unknown"}) {
    EXPECT_TRUE(may_be_program(path)) << path;
  }
  for (const char* path : {"/README.txt", "/app/README", "/bin/x.json", "/include/c++/12/vector", "/src/main.rs",
                           "/LOUD.TXT", "/lib/python3.12/os.py", "/usr/lib/python3/dist-packages/yaml/__init__.py",
                           "/lib/__pycache__/os.cpython-312.pyc", "/app/node_modules/x/index.js", "/lib/libz.so",
                           "/lib/libz.so.1.2.13", "/usr/share/zoneinfo/Europe/Berlin", "/usr/share/man/man1/ls.1",
                           "/share/terminfo/x/xterm", "/app/.gitignore", "/a/archive.tar.gz"}) {
    EXPECT_FALSE(may_be_program(path)) << path;
  }
  EXPECT_TRUE(may_be_program("/" + std::string(250, 'x') + ".y"));
  EXPECT_TRUE(may_be_program("/y." + std::string(250, 'x')));
}

/// Counts reads of ranges, and fails them on request. Parsers use `bytes`, which isn't counted.
class Watched final : public ByteSource {
 public:
  explicit Watched(std::vector<std::byte> bytes) : inner_("watched", std::move(bytes)) {}
  [[nodiscard]] const std::string& name() const override { return inner_.name(); }
  [[nodiscard]] std::span<const std::byte> bytes() const override { return inner_.bytes(); }
  [[nodiscard]] bool damaged() const override { return broken; }
  [[nodiscard]] Result<void> read(std::uint64_t offset, std::span<std::byte> out) const override {
    ++reads;
    return broken ? fail(EIO) : inner_.read(offset, out);
  }

  mutable std::atomic<int> reads{0};
  std::atomic<bool> broken{false};

 private:
  MemoryBytes inner_;
};

using Contents = std::vector<std::pair<std::string, std::string>>;

/// A volume with a directory for each key.
std::shared_ptr<Watched> container_of(const std::map<std::string, Contents>& directories) {
  webc::WriterNode root;
  for (const auto& [name, files] : directories) {
    webc::WriterNode directory{.name = name, .children = {}};
    for (const auto& [file, content] : files) {
      directory.children.push_back({.name = file, .kind = webc::EntryKind::kFile, .content = content, .children = {}});
    }
    root.children.push_back(std::move(directory));
  }
  webc::Writer writer(webc::Version::kV3, webc::Json::object());
  writer.add_volume("v", std::move(root));
  return std::make_shared<Watched>(writer.to_bytes());
}

std::unique_ptr<FileSystem> tree(const std::shared_ptr<Watched>& source, const OverlayOptions& options = {},
                                 std::optional<Mount> more = std::nullopt) {
  const auto container = webc::Container::open(source);
  std::vector<Mount> mounts;
  mounts.push_back({.fs = std::make_unique<WebcVolumeFileSystem>(container->volumes().front(),
                                                                 VolumeOptions{.detect_executables = true}),
                    .package = "p",
                    .volume = "v"});
  if (more) {
    mounts.push_back(std::move(*more));
  }
  source->reads = 0;
  return make_union_file_system(std::move(mounts), options);
}

const std::map<std::string, Contents> kFiles = {
    {"app",
     {{"data.txt", "#!/x"},
      {"elf",
       "\x7f"
       "ELF\1"},
      {"empty", ""},
      {"module.wasm", "\0asm\1"s},
      {"one", "#"},
      {"script", "#!/bin/sh\n"},
      {"short", "#!"},
      {"text", "text"}}},
    {"lib", {{"module.py", "#!/usr/bin/python3"}, {"program", "#!/bin/sh"}}}};
const std::map<std::string, unsigned> kModes = {
    {"app/data.txt", 0644}, {"app/elf", 0755},   {"app/empty", 0644}, {"app/module.wasm", 0755}, {"app/one", 0644},
    {"app/script", 0755},   {"app/short", 0755}, {"app/text", 0644},  {"lib/module.py", 0644},   {"lib/program", 0755}};

/// The modes that the listings tell; those that are left open are missing.
std::map<std::string, unsigned> listed_modes(FileSystem& fs) {
  std::map<std::string, unsigned> modes;
  for (const char* const directory : {"app", "lib"}) {
    EXPECT_TRUE(fs.read_dir(find_path(fs, directory)->inode, 0, [&](const DirEntry& entry) {
      if (!entry.attributes.may_be_program) {
        modes[directory + "/"s + std::string(entry.name)] = entry.attributes.mode;
      }
      return true;
    }));
  }
  return modes;
}

std::map<std::string, unsigned> modes_of(FileSystem& fs) {
  std::map<std::string, unsigned> modes;
  for (const auto& [path, mode] : kModes) {
    const Result<Entry> found = find_path(fs, path);
    if (!found) {
      modes[path] = 0;
      continue;
    }
    EXPECT_FALSE(found->attributes.may_be_program) << path;
    modes[path] = found->attributes.mode;
    EXPECT_EQ(fs.metadata(found->inode)->mode, found->attributes.mode) << path;
    EXPECT_FALSE(fs.metadata(found->inode)->may_be_program) << path;
  }
  return modes;
}

const std::map<std::string, unsigned> kListed = {
    {"app/data.txt", 0644}, {"app/empty", 0644}, {"app/one", 0644}, {"lib/module.py", 0644}};

TEST(Executables, ListingsReadNoFileAndLookUpsTellTheMode) {
  const auto source = container_of(kFiles);
  const auto fs = tree(source);
  EXPECT_EQ(listed_modes(*fs), kListed);
  for (const auto& [path, mode] : kListed) {
    EXPECT_EQ(find_path(*fs, path)->attributes.mode, mode) << path;
  }
  EXPECT_EQ(source->reads, 0);
  EXPECT_EQ(modes_of(*fs), kModes);
  EXPECT_EQ(listed_modes(*fs), kListed);
  EXPECT_EQ(modes_of(*fs), kModes);
}

TEST(Executables, AnEvictedDirectoryHasTheSameModes) {
  const auto source = container_of(kFiles);
  const auto fs = tree(source, {.memory = 1});
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(modes_of(*fs), kModes);
    EXPECT_EQ(listed_modes(*fs), kListed);
  }
}

TEST(Executables, AFailedReadIsAnErrorUntilItSucceeds) {
  const auto source = container_of(kFiles);
  const auto fs = tree(source);
  source->broken = true;
  EXPECT_EQ(listed_modes(*fs), kListed) << "listings need no file";
  EXPECT_EQ(find_path(*fs, "app/script").error(), EIO);
  EXPECT_EQ(find_path(*fs, "app/text").error(), EIO);
  EXPECT_EQ(find_path(*fs, "app/data.txt")->attributes.mode, 0644U);
  source->broken = false;
  EXPECT_EQ(modes_of(*fs), kModes);
  const Inode known = find_path(*fs, "app/script")->inode;
  source->broken = true;
  EXPECT_EQ(fs->metadata(known).error(), EIO);
  source->broken = false;
  EXPECT_EQ(fs->metadata(known)->mode, 0755U);
}

TEST(Executables, NextToALiveDirectoryTheModesAreTheSame) {
  const test::TempDir dir;
  (void)dir.write("app/live", "#!/x");
  const auto source = container_of(kFiles);
  const auto fs = tree(source, {}, test::live_mount(dir.path(), "/"));
  (void)listed_modes(*fs);
  EXPECT_EQ(source->reads, 0);
  EXPECT_EQ(modes_of(*fs), kModes);
  EXPECT_EQ(find_path(*fs, "app/live")->attributes.mode & 0111U, 0U) << "a host file keeps its own mode";
}

TEST(Executables, ALargeDirectoryReadsOnlyTheFileThatIsLookedUp) {
  Contents many;
  for (int i = 0; i < 5'000; ++i) {
    many.emplace_back("f" + std::to_string(i), i % 2 == 0 ? "#!/bin/sh" : "text");
    many.emplace_back("f" + std::to_string(i) + ".txt", "#!/bin/sh");
  }
  const auto source = container_of({{"app", many}, {"lib", {}}});
  const auto fs = tree(source);
  EXPECT_EQ(listed_modes(*fs).size(), 5'000U);
  EXPECT_EQ(find_path(*fs, "app/f7.txt")->attributes.mode, 0644U);
  EXPECT_EQ(source->reads, 0);
  EXPECT_EQ(find_path(*fs, "app/f2468")->attributes.mode, 0755U);
  EXPECT_EQ(find_path(*fs, "app/f2469")->attributes.mode, 0644U);
  EXPECT_EQ(source->reads, 2);
}

TEST(Executables, AFileMappedToAPathIsOne) {
  const auto source = container_of(kFiles);
  const auto container = webc::Container::open(source);
  std::vector<Mount> mounts;
  for (const auto& [path, file] : {std::pair("/bin/tool", "/app/script"), std::pair("/x/y.txt", "/app/script")}) {
    mounts.push_back({.fs = std::make_unique<WebcVolumeFileSystem>(container->volumes().front(),
                                                                   VolumeOptions{.detect_executables = true}),
                      .mount_path = path,
                      .source_path = file,
                      .package = "p",
                      .volume = "v"});
  }
  source->reads = 0;
  const auto fs = make_union_file_system(std::move(mounts), {});
  EXPECT_TRUE(fs->read_dir(find_path(*fs, "bin")->inode, 0, [](const DirEntry&) { return true; }));
  EXPECT_EQ(find_path(*fs, "x/y.txt")->attributes.mode, 0644U) << "the name in the tree counts";
  EXPECT_EQ(source->reads, 0);
  EXPECT_EQ(find_path(*fs, "bin/tool")->attributes.mode, 0755U);
}

}  // namespace
}  // namespace pkgfs::vfs
