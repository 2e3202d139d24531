// SPDX-License-Identifier: MIT
#pragma once

#include <cstring>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <utility>

#include "core/base/hash.h"
#include "tests/net/net.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {

/// A server with one package, which the tests name by its URL: 40 files of 20 KiB and a large one.
class LazyUrl : public NetTest {
 protected:
  static constexpr std::size_t kMiB = std::size_t{1} << 20U;
  static constexpr std::size_t kSmallFiles = 40;

  static std::string noise(std::size_t size, unsigned seed) {
    std::mt19937_64 random(seed);
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; i += 8) {
      const std::uint64_t word = random();
      std::memcpy(text.data() + i, &word, std::min<std::size_t>(8, size - i));
    }
    return text;
  }
  static std::string name_of(std::size_t i) { return "d" + std::to_string(i / 20) + "/f" + std::to_string(i % 20); }
  static std::string content_of(std::size_t i, unsigned seed = 0) {
    return noise(20 * 1024, static_cast<unsigned>(i) + seed);
  }

  /// Fills `builder` with the files. Another `seed` makes other ones.
  static void fill(PackageBuilder& builder, std::size_t large, unsigned seed = 0) {
    for (std::size_t i = 0; i < kSmallFiles; ++i) {
      builder.file("data", name_of(i), content_of(i, seed));
    }
    builder.file("data", "zz-large", noise(large, 1000 + seed)).mount("/", "data");
  }
  /// Serves what `builder` has.
  void serve(const PackageBuilder& builder, const std::string& package) {
    write(builder);
    server_ = std::make_unique<TestRegistry>(std::vector<std::filesystem::path>{package_});
    url_ = server_->file_url(package);
  }
  void serve(std::size_t large) {
    PackageBuilder builder("acme/big@1.0.0");
    fill(builder, large);
    serve(builder, "acme/big@1.0.0");
  }
  /// From now on, the server has another package at the URL, with a file more.
  void replace(std::size_t large) {
    PackageBuilder builder("acme/big@1.0.0");
    fill(builder, large, 7);
    builder.file("data", "a-new", "new");
    write(builder);
  }
  void write(const PackageBuilder& builder) const {
    const auto bytes = builder.bytes();
    std::ofstream(package_, std::ios::binary | std::ios::trunc)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }

  /// Body bytes that the server sent of files.
  [[nodiscard]] std::uint64_t sent() const {
    std::uint64_t sum = 0;
    for (const auto& request : server_->requests()) {
      sum += request.is_file() ? request.sent : 0;
    }
    return sum;
  }
  /// Where the cache has the complete file of the URL.
  [[nodiscard]] std::filesystem::path url_entry() const {
    return cache() / "downloads" / to_upper_hex(pkgfs::sha256(url_));
  }
  [[nodiscard]] std::filesystem::path partial() const {
    return cache() / "downloads/__temp__" / (to_upper_hex(pkgfs::sha256(url_)) + ".lazy");
  }
  /// Makes the kept file older than the five minutes for which it isn't checked.
  void make_old() const {
    for (const auto& file : std::filesystem::directory_iterator(cache() / "downloads")) {
      if (file.is_regular_file()) {
        std::filesystem::last_write_time(file, std::filesystem::file_time_type::clock::now() - std::chrono::minutes(6));
      }
    }
  }

  const std::filesystem::path package_ = home_.path() / "big.webc";
  std::unique_ptr<TestRegistry> server_;
  std::string url_;
};

}  // namespace pkgfs::test
