// SPDX-License-Identifier: MIT
// How long `pkgfs pull` takes for 200 packages of 100 KB from a server that answers each request after 50 ms, beside
// the ideal for 32 at a time: rounds of latency, one for the root's query, one for the queries of the level below in
// batches, and one for the downloads in batches.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "tests/support/containers/package_builder.h"
#include "tests/support/registry/test_registry.h"

namespace pkgfs::test {
namespace {

constexpr int kPackages = 200;
constexpr std::size_t kBytes = 100'000;
constexpr int kLatencyMs = 50;
constexpr int kParallel = 32;

std::string noise(int seed) {
  std::string text(kBytes, '\0');
  std::uint32_t state = static_cast<std::uint32_t>(seed) * 2654435761U + 1;
  for (char& c : text) {
    state = state * 1664525U + 1013904223U;
    c = static_cast<char>(state >> 24U);
  }
  return text;
}

int run_bench(int rounds) {
  const TempDir dir;
  PackageBuilder root("bench/root@1.0.0");
  for (int i = 0; i < kPackages; ++i) {
    const std::string name = "bench/p" + std::to_string(i);
    PackageBuilder package(name + "@1.0.0");
    package.file("data", "noise", noise(i)).mount("/d/" + std::to_string(i), "data");
    package.publish(dir.path() / "registry");
    root.use("p" + std::to_string(i), name + "@^1");
  }
  root.publish(dir.path() / "registry");
  TestRegistry registry({dir.path() / "registry"});
  registry.set_fault({.kind = Fault::Kind::kPlain, .latency_ms = kLatencyMs});
  constexpr int kBatches = (kPackages + kParallel - 1) / kParallel;
  constexpr double kIdeal = kLatencyMs * (1 + kBatches + kBatches);
  std::vector<double> times;
  for (int round = 0; round < rounds; ++round) {
    const TempDir home;
    const auto begin = std::chrono::steady_clock::now();
    const ProcessResult result = run({PKGFS_BINARY, "pull", "--quiet", "--registry", registry.endpoint(), "bench/root"},
                                     {.environment = {{"HOME", home.path()}, {"WASMER_DIR", ""}, {"http_proxy", ""}}});
    const auto end = std::chrono::steady_clock::now();
    if (!result.ok()) {
      std::fprintf(stderr, "%s\n", result.describe().c_str());
      return 1;
    }
    times.push_back(std::chrono::duration<double, std::milli>(end - begin).count());
  }
  std::sort(times.begin(), times.end());
  std::printf("%d packages of %zu bytes, %d ms a request, %d at a time, %d rounds\n", kPackages, kBytes, kLatencyMs,
              kParallel, rounds);
  std::printf("ideal %.0f ms; median %.0f ms (%.2f x), least %.0f ms, most %.0f ms\n", kIdeal, times[times.size() / 2],
              times[times.size() / 2] / kIdeal, times.front(), times.back());
  return 0;
}

}  // namespace
}  // namespace pkgfs::test

int main(int argc, char** argv) {
  if (const std::string why = pkgfs::test::registry_missing(); !why.empty()) {
    std::fprintf(stderr, "%s\n", why.c_str());
    return 1;
  }
  return pkgfs::test::run_bench(argc > 1 ? std::max(1, std::atoi(argv[1])) : 7);
}
