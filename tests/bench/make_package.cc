// SPDX-License-Identifier: MIT
// Makes the benchmark's packages with the library's own writer; host files stream, so a tree may be larger than memory.
//   bench_make_package tree 2|3 DIRECTORY OUT.webc      DIRECTORY as the one volume, mapped to /
//   bench_make_package files 2|3 COUNT OUT.webc         COUNT tiny files, a thousand a directory
//   bench_make_package layers 2|3 REGISTRY DIRECTORY... bench/merged, which maps a package for each DIRECTORY to /
#include <fcntl.h>
#include <sys/stat.h>

#include <cstdio>
#include <exception>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

constexpr int kFilesInDirectory = 1000;

std::uint64_t modified(const fs::path& path) {
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0) {
    throw std::runtime_error("can't look at " + path.string());
  }
  return static_cast<std::uint64_t>(status.st_mtim.tv_sec);
}

void add_directory(webc::WriterNode& node, const fs::path& directory) {
  node.modified = modified(directory);
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    webc::WriterNode& child = node.children.emplace_back();
    child.name = entry.path().filename();
    if (entry.is_symlink()) {
      throw std::runtime_error("version 2 has no links, so the trees have none: " + entry.path().string());
    }
    if (entry.is_directory()) {
      add_directory(child, entry.path());
    } else {
      child.kind = webc::EntryKind::kFile;
      child.modified = modified(entry.path());
      child.content = webc::HostFile{.name = entry.path().string(), .open = [path = entry.path()] {
                                       return UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
                                     }};
    }
  }
}

PackageBuilder from_tree(const std::string& id, webc::Version version, const fs::path& directory) {
  PackageBuilder builder(id, version);
  add_directory(builder.volume("data"), directory);
  builder.mount("/", "data", std::nullopt,
                version == webc::Version::kV2 ? std::optional<std::string>("/") : std::nullopt);
  return builder;
}

PackageBuilder from_count(webc::Version version, int count) {
  PackageBuilder builder("bench/files@1.0.0", version);
  webc::WriterNode& root = builder.volume("data");
  root.modified = 1;
  for (int number = 0; number < count; ++number) {
    if (number % kFilesInDirectory == 0) {
      root.children.emplace_back().name = "d" + std::to_string(number / kFilesInDirectory);
      root.children.back().modified = 1;
    }
    webc::WriterNode& file = root.children.back().children.emplace_back();
    file.name = "file-" + std::to_string(number);
    file.kind = webc::EntryKind::kFile;
    file.modified = 1;
    file.content = std::to_string(number);
  }
  builder.mount("/", "data", std::nullopt,
                version == webc::Version::kV2 ? std::optional<std::string>("/") : std::nullopt);
  return builder;
}

void make_layers(webc::Version version, const fs::path& registry, std::span<const std::string> directories) {
  PackageBuilder merged("bench/merged@1.0.0", version);
  for (const std::string& directory : directories) {
    const std::string name = "layer" + std::to_string(&directory - directories.data());
    from_tree("bench/" + name + "@1.0.0", version, directory).publish(registry);
    merged.use(name, "bench/" + name + "@1.0.0");
    merged.mount("/", "data", name, version == webc::Version::kV2 ? std::optional<std::string>("/") : std::nullopt);
  }
  merged.publish(registry);
}

int make(std::span<const std::string> words) {
  if (words.size() < 4 || (words[1] != "2" && words[1] != "3")) {
    std::fprintf(stderr, "usage: bench_make_package tree|files|layers 2|3 ...\n");
    return 2;
  }
  const webc::Version version = words[1] == "2" ? webc::Version::kV2 : webc::Version::kV3;
  if (words[0] == "tree") {
    from_tree("bench/tree@1.0.0", version, words[2]).write(words[3]);
  } else if (words[0] == "files") {
    from_count(version, std::stoi(words[2])).write(words[3]);
  } else {
    make_layers(version, words[2], words.subspan(3));
  }
  return 0;
}

}  // namespace
}  // namespace pkgfs::test

int main(int argc, char** argv) {
  try {
    return pkgfs::test::make(std::vector<std::string>(argv + 1, argv + argc));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_make_package: %s\n", error.what());
    return 1;
  }
}
