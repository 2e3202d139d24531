// SPDX-License-Identifier: MIT
// Does the work of a mount and of a walk for packages of one and of two sizes, for callgrind with --instr-atstart=no
// --collect-atstart=no: one dump each, named "ROW once" or "ROW twice".
//   bench_scale DIRECTORY [ROW]...           makes the packages below DIRECTORY; of these rows only
//   bench_scale --time DIRECTORY [ROW]...    without callgrind: prints milliseconds of the CPU instead
// Prints {"ROW":[ONCE,TWICE],...}: the sizes, or the milliseconds.
#include <cstdio>
#include <ctime>
#include <exception>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "daemon/cli/logging.h"
#include "tests/bench/profile.h"
#include "tests/bench/scale_cases.h"

namespace pkgfs::bench {
namespace {

struct Phase {
  std::string row;
  std::size_t size;
  const char* name;
  std::function<void()> run;
};

/// Of the CPU: others may run at the same time.
double milliseconds(const std::function<void()>& run) {
  const std::clock_t begin = std::clock();
  run();
  return 1e3 * static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
}

/// `wanted`: the rows; none for all.
int scale(const std::filesystem::path& place, const std::set<std::string>& wanted, bool time) {
  LogFlags quiet;
  quiet.level = "off";
  set_log_level(quiet);
  std::vector<Phase> phases;
  for (const ScaleCase& row : scale_cases()) {
    if (!wanted.empty() && !wanted.contains(row.name)) {
      continue;
    }
    for (const auto& [name, size] : {std::pair("once", row.once), std::pair("twice", row.twice)}) {
      const std::filesystem::path own = place / std::to_string(phases.size());
      std::filesystem::create_directories(own);
      phases.push_back({row.name, size, name, row.make(own, size)});
    }
  }
  if (phases.empty()) {
    throw std::runtime_error("there is no such row");
  }
  phases.front().run();  // what is done only once in a process
  if (!time) {
    profile::start();
  }
  nlohmann::ordered_json rows = nlohmann::ordered_json::object();
  for (const Phase& phase : phases) {
    if (time) {
      rows[phase.row].push_back(milliseconds(phase.run));
      continue;
    }
    profile::collect(true);
    phase.run();
    profile::collect(false);
    profile::dump(phase.row + " " + phase.name);
    rows[phase.row].push_back(phase.size);
  }
  std::printf("%s\n", rows.dump().c_str());
  return 0;
}

}  // namespace
}  // namespace pkgfs::bench

int main(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  const bool time = !words.empty() && words.front() == "--time";
  if (time) {
    words.erase(words.begin());
  }
  if (words.empty()) {
    std::fprintf(stderr, "usage: bench_scale [--time] DIRECTORY [ROW]...\n");
    return 2;
  }
  try {
    return pkgfs::bench::scale(words.front(), {words.begin() + 1, words.end()}, time);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_scale: %s\n", error.what());
    return 1;
  }
}
