// SPDX-License-Identifier: MIT
// The dependency direction of ARCHITECTURE.md, read from the #include lines.
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/fixtures.h"
#include "tests/support/patterns.h"

namespace fs = std::filesystem;

namespace pkgfs::test {
namespace {

/// The folders that a folder may include, beside itself. "core" and "daemon" stand for all that is in them.
const std::map<std::string, std::set<std::string>>& allowed() {
  static const std::map<std::string, std::set<std::string>> table{
      {"core/base", {}},
      {"core/webc", {"core/base"}},
      {"core/package", {"core/base", "core/webc"}},
      {"core/net", {"core/base"}},
      {"core/oci", {"core/base", "core/net", "core/webc"}},
      {"core/cache", {"core/base", "core/net"}},
      {"core/lazy", {"core/base", "core/net", "core/cache"}},
      {"core/source", {"core/base", "core/webc", "core/package", "core/net", "core/oci", "core/cache"}},
      {"core/resolve", {"core/base", "core/webc", "core/package", "core/source", "core/lazy"}},
      {"core/vfs", {"core/base", "core/webc"}},
      {"core/load",
       {"core/base", "core/webc", "core/package", "core/source", "core/cache", "core/vfs", "core/net", "core/lazy"}},
      {"core/tree", {"core/base", "core/webc", "core/package", "core/source", "core/resolve", "core/vfs", "core/load"}},
      {"core/export", {"core/base", "core/webc", "core/package", "core/cache", "core/vfs", "core/load", "core/tree"}},
      {"fuse", {"core/base", "core/vfs"}},
      {"daemon/cli", {"core"}},
      {"daemon/packages", {"core", "daemon/cli"}},
      {"daemon/http", {"core/base"}},
      {"daemon/observe", {"core", "fuse", "daemon/cli", "daemon/http"}},
      {"daemon/keeper", {}},
      {"daemon/mount", {"core", "fuse", "daemon/cli", "daemon/packages", "daemon/observe", "daemon/keeper"}},
      {"daemon/serve", {"core", "fuse", "daemon/cli", "daemon/packages", "daemon/mount", "daemon/observe"}},
      {"daemon/doctor", {"core", "fuse", "daemon/cli", "daemon/packages", "daemon/mount"}},
      {"daemon/overlay", {"core", "daemon/cli", "daemon/packages", "daemon/mount"}},
      {"daemon/volumes", {"core", "daemon/cli", "daemon/http", "daemon/mount"}},
      {"daemon/csi", {"core", "fuse", "daemon/cli", "daemon/http", "daemon/mount", "daemon/observe", "daemon/volumes"}},
      {"daemon/commands", {"core", "fuse", "daemon"}},
      {"daemon", {"daemon/commands", "daemon/cli", "daemon/csi"}},
  };
  return table;
}

/// Libraries that have one place each; the first that fits counts.
struct Confined {
  std::string_view header_prefix;
  std::string_view folder;  // and what is below it
};
constexpr Confined kConfined[] = {
    {"fuse", "fuse"},
    {"linux/fuse", "fuse"},
    {"curl/", "core/net"},
    {"boost/archive/iterators/", "core/base"},
    {"boost/program_options", "daemon/cli"},
    {"boost/", "daemon/http"},
    {"toml++", "core/package"},
    {"archive", "core/load"},
    {"openssl/", "core/base"},
    {"grpc", "daemon/csi"},
};

/// What the core may not know: the terminal and the standard streams are the program's.
constexpr std::string_view kTerminal[] = {"<iostream>", "std::cout", "std::cerr", "std::clog", "isatty",
                                          "ioctl(",     "printf(",   "puts(",     "getopt",    "exit("};

bool below(std::string_view path, std::string_view folder) {
  return path.starts_with(folder) && (path.size() == folder.size() || path[folder.size()] == '/');
}

/// The folder of ARCHITECTURE.md that a file belongs to: "core/x", "daemon/x" or the top folder.
std::string folder_of(const std::string& path) {
  const std::size_t first = path.find('/');
  const std::size_t second = path.find('/', first + 1);
  if (second == std::string::npos || (!path.starts_with("core/") && !path.starts_with("daemon/"))) {
    return path.substr(0, first);
  }
  return path.substr(0, second);
}

/// Whether `others`, a row of the table, lets a file include one of the folder `other`.
bool allows(const std::set<std::string>& others, const std::string& other) {
  return others.contains(other) || others.contains(other.substr(0, other.find('/')));
}

std::string without_comment(const std::string& line) { return line.substr(0, line.find("//")); }

/// Every rule that `text`, the file at `path` (relative to the project), breaks.
std::vector<std::string> violations(const std::string& path, const std::string& text) {
  static const std::string include(R"(^\s*#\s*include\s*([<"])([^>"]+)[>"])");
  std::vector<std::string> found;
  const std::string folder = folder_of(path);
  const auto rule = allowed().find(folder);
  std::istringstream lines(text);
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    const auto complain = [&](const std::string& what) {
      found.push_back(path + ":" + std::to_string(number) + ": " + what);
    };
    if (const auto match = test::find_groups(line, include); !match.empty()) {
      const std::string header = match[2];
      if (match[1] == "\"") {
        const std::string other = folder_of(header);
        if (!fs::path(header).has_parent_path() || header.starts_with(".")) {
          complain("includes \"" + header + "\", not by its path from the project's root");
        } else if (other == "tests") {
          complain("the product includes a test");
        } else if (rule != allowed().end() && other != folder && !allows(rule->second, other)) {
          complain(folder + " may not include " + other);
        }
      }
      const auto* const library = std::ranges::find_if(
          kConfined, [&](const Confined& confined) { return header.starts_with(confined.header_prefix); });
      const bool ours = match[1] == "\"";
      if (!ours && library != std::end(kConfined) && !below(path, library->folder)) {
        complain("<" + header + "> outside " + std::string(library->folder));
      }
    }
    if (path.starts_with("core/")) {
      const std::string code = without_comment(line);
      for (const std::string_view word : kTerminal) {
        const std::size_t at = code.find(word);
        const bool whole =
            at != std::string::npos && (at == 0 || (std::isalnum(code[at - 1]) == 0 && code[at - 1] != '_'));
        if (whole) {
          complain("the core knows of " + std::string(word));
        }
      }
    }
  }
  if (rule == allowed().end()) {
    found.push_back(path + ": not a folder of ARCHITECTURE.md");
  }
  return found;
}

std::vector<fs::path> sources(const std::vector<std::string>& folders) {
  std::vector<fs::path> files;
  for (const std::string& folder : folders) {
    for (const auto& entry : fs::recursive_directory_iterator(source_directory() / folder)) {
      const std::string extension = entry.path().extension();
      if (entry.is_regular_file() && (extension == ".cc" || extension == ".h") &&
          entry.path().string().find("/fixtures/") == std::string::npos) {
        files.push_back(entry.path());
      }
    }
  }
  return files;
}

std::string from_root(const fs::path& file) { return fs::relative(file, source_directory()).string(); }

TEST(Layers, NobodyIncludesWhatItMayNot) {
  std::size_t read = 0;
  for (const fs::path& file : sources({"core", "fuse", "daemon"})) {
    ++read;
    for (const std::string& violation : violations(from_root(file), read_text(file))) {
      ADD_FAILURE() << violation;
    }
  }
  EXPECT_GT(read, 30U) << "the sources weren't found";
}

TEST(Layers, TheCheckFindsEveryKindOfForbiddenArrow) {
  const auto count = [](const std::string& path, const std::string& text) { return violations(path, text).size(); };
  EXPECT_EQ(count("core/base/x.cc", "#include \"core/webc/container.h\"\n"), 1U);
  EXPECT_EQ(count("core/vfs/x.cc", "#include \"core/load/package.h\"\n"), 1U);
  EXPECT_EQ(count("core/resolve/x.h", "#include \"core/vfs/file_system.h\"\n"), 1U);
  EXPECT_EQ(count("core/load/x.cc", "#include \"daemon/commands/program.h\"\n"), 1U);
  EXPECT_EQ(count("fuse/x.cc", "#include \"core/tree/package_tree.h\"\n"), 1U);
  EXPECT_EQ(count("core/webc/x.cc", "#include \"container.h\"\n"), 1U);
  EXPECT_EQ(count("fuse/x.cc", "#include \"tests/support/tree.h\"\n"), 1U);
  EXPECT_EQ(count("daemon/mount/x.cc", "#include <fuse_lowlevel.h>\n"), 1U);
  EXPECT_EQ(count("core/vfs/x.cc", "  #  include <fuse3/fuse.h>\n"), 1U);
  EXPECT_EQ(count("core/source/x.cc", "#include <curl/curl.h>\n"), 1U);
  EXPECT_EQ(count("fuse/x.cc", "#include <boost/program_options.hpp>\n"), 1U);
  EXPECT_EQ(count("daemon/mount/x.cc", "#include <boost/program_options.hpp>\n"), 1U);
  EXPECT_EQ(count("daemon/cli/x.cc", "#include <boost/beast/http.hpp>\n"), 1U);
  EXPECT_EQ(count("core/base/x.cc", "#include <iostream>\n"), 1U);
  EXPECT_EQ(count("core/base/x.cc", "  if (::isatty(1)) {\n"), 1U);
  EXPECT_EQ(count("core/base/x.cc", "  std::cout << 1;\n"), 1U);
  EXPECT_EQ(count("daemon/cli/x.cc", "#include \"fuse/session.h\"\n"), 1U);
  EXPECT_EQ(count("daemon/cli/x.h", "#include \"daemon/commands/program.h\"\n"), 1U);
  EXPECT_EQ(count("daemon/packages/x.cc", "#include \"daemon/mount/mount_table.h\"\n"), 1U);
  EXPECT_EQ(count("daemon/observe/x.cc", "#include \"daemon/mount/mount_table.h\"\n"), 1U);
  EXPECT_EQ(count("daemon/mount/x.cc", "#include \"daemon/doctor/check_system.h\"\n"), 1U);
  EXPECT_EQ(count("daemon/volumes/x.cc", "#include \"daemon/packages/open_tree.h\"\n"), 1U);
  EXPECT_EQ(count("daemon/x.cc", "#include \"core/base/error.h\"\n"), 1U);
  EXPECT_EQ(count("daemon/extra/x.cc", ""), 1U);
  EXPECT_EQ(count("extra/x.cc", ""), 1U);

  EXPECT_EQ(count("core/base/x.cc", "// std::cout is the program's\n#include <cstdio>\n"), 0U);
  EXPECT_EQ(count("core/base/x.cc", "  std::snprintf(buffer, 1, \"\");\n"), 0U);
  EXPECT_EQ(count("fuse/x.cc", "#include <fuse_lowlevel.h>\n#include \"core/vfs/file_system.h\"\n"), 0U);
  EXPECT_EQ(count("daemon/mount/x.cc", "#include \"fuse/session.h\"\n"), 0U);
  EXPECT_EQ(count("daemon/cli/x.cc", "#include <boost/program_options.hpp>\n"), 0U);
  EXPECT_EQ(count("daemon/http/x.cc", "#include <boost/asio/post.hpp>\n#include <boost/beast/http.hpp>\n"), 0U);
  EXPECT_EQ(count("daemon/commands/x.cc", "#include \"daemon/volumes/mounter.h\"\n"), 0U);
  EXPECT_EQ(count("daemon/cli/x.cc", "#include \"core/tree/package_tree.h\"\n"), 0U);
}

TEST(Layers, EverySourceIsLicensedAndShortEnoughToRead) {
  for (const fs::path& file : sources({"core", "fuse", "daemon", "tests"})) {
    const std::string text = read_text(file);
    EXPECT_TRUE(text.starts_with("// SPDX-License-Identifier: MIT\n")) << from_root(file) << ": no SPDX line";
    EXPECT_LT(std::count(text.begin(), text.end(), '\n'), 800) << from_root(file);
    if (file.extension() == ".h") {
      EXPECT_NE(text.find("#pragma once\n"), std::string::npos) << from_root(file);
    }
  }
}

}  // namespace
}  // namespace pkgfs::test
