// SPDX-License-Identifier: MIT
// Risk: a text of a package reaches a terminal or a log as it is, because a new line of code forgot to escape it.
#include <filesystem>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/fixtures.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

/// The files that write to a stream or a log themselves, and why they may.
const std::set<std::string>& sinks() {
  static const std::set<std::string> files{
      "core/base/log.cc",                 // makes each message printable
      "daemon/cli/console.cc",            // gets lines from the log and the progress
      "daemon/cli/console.h",             //
      "daemon/cli/help.cc",               // prints tables of the program
      "daemon/cli/help.h",                //
      "daemon/cli/io.cc",                 // names the streams
      "daemon/cli/io.h",                  //
      "daemon/cli/json_output.cc",        // escapes
      "daemon/cli/json_output.h",         //
      "core/webc/json_writer.cc",         // the same, piece by piece
      "core/webc/json_writer.h",          //
      "daemon/commands/inspect_json.cc",  // hands a stream to JsonWriter
      "daemon/commands/inspect_json.h",   //
      "daemon/cli/logging.cc",            // makes each message printable
      "daemon/cli/progress.cc",           // makes the names printable
      "daemon/cli/progress.h",            //
      "daemon/cli/run_report.cc",         // writes JSON, and errors, which are printable
      "daemon/cli/text_writer.h",         // makes each text printable
      "daemon/keeper/main.cc",            // writes literals, and a path for the system's log
      "daemon/csi/csi_options.cc",        // prints a table of the program
      "daemon/csi/csi_options.h",         //
      "daemon/csi/driver.cc",             // writes the version, which is a literal
      "daemon/keeper/keeperd.cc",         // writes literals, and the path that it was started with
      "daemon/commands/cmd_cat.cc",       // writes the bytes of a file, which it is for
      "daemon/commands/damage.cc",        // writes errors, which are printable
      "daemon/commands/damage.h",         //
      "daemon/commands/program.cc",       // writes the version, which is a literal
      "daemon/commands/mount_helper.cc",  // the same
      "fuse/session.cc",                  // makes the messages of libfuse printable
  };
  return files;
}

/// What writes to a stream, or to a log.
constexpr std::string_view kRawOutputs[] = {"std::ostream& ", "io.out <<",      "io.err <<",       "io_.out <<",
                                            "io_.err <<",     "std::cout",      "std::cerr",       "std::clog",
                                            " puts(",         "fputs(",         " printf(",        "::printf(",
                                            "fprintf(",       "spdlog::log(",   "spdlog::info",    "spdlog::warn(",
                                            "spdlog::error(", "spdlog::debug(", "write(STDOUT_FI", "write(STDERR_FI"};
/// Streams for errors are handed on to `Damage`, and errors are printable.
constexpr std::string_view kAllowed[] = {"std::ostream& err", "*io.err << error_text("};

std::vector<std::string> raw_outputs(const std::string& path, const std::string& text) {
  std::vector<std::string> found;
  std::istringstream lines(text);
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    std::string code = " " + line.substr(0, line.find("//"));
    for (const std::string_view allowed : kAllowed) {
      if (const std::size_t at = code.find(allowed); at != std::string::npos) {
        code.erase(at, allowed.size());
      }
    }
    for (const std::string_view output : kRawOutputs) {
      if (code.find(output) != std::string::npos) {
        found.push_back(path + ":" + std::to_string(number) + ": " + line);
        break;
      }
    }
  }
  return found;
}

TEST(Output, OnlySinksWriteToStreamsAndLogs) {
  std::size_t seen = 0;
  for (const char* folder : {"core", "daemon", "fuse"}) {
    for (const auto& file : fs::recursive_directory_iterator(source_directory() / folder)) {
      const std::string path = fs::relative(file.path(), source_directory()).string();
      if (!file.is_regular_file() || (!path.ends_with(".cc") && !path.ends_with(".h"))) {
        continue;
      }
      ++seen;
      for (const std::string& output :
           sinks().contains(path) ? std::vector<std::string>{} : raw_outputs(path, read_text(file.path()))) {
        ADD_FAILURE() << output << "\nwrites a text as it is: use TextWriter, print_json, log or Error";
      }
    }
  }
  EXPECT_GT(seen, 300U);
}

TEST(Output, RawOutputIsFound) {
  for (const char* line : {"*io.out << name;", "*io_.err << \"x\" << name;", "void print(std::ostream& out) {",
                           "std::cerr << name;", "std::fputs(name, stderr);", "spdlog::warn(\"{}\", name);",
                           "printf(\"%s\", name);", "::write(STDERR_FILENO, name, 1);"}) {
    EXPECT_EQ(raw_outputs("x.cc", line).size(), 1U) << line;
  }
  for (const char* line : {"TextWriter(*io.out) << name;", "print_json(*io.out, document);", "// *io.out << name;",
                           "std::snprintf(text, 1, \"x\");", "Damage damage(*io.err);", "io.out->flush();"}) {
    EXPECT_TRUE(raw_outputs("x.cc", line).empty()) << line;
  }
}

}  // namespace
}  // namespace pkgfs::test
