// SPDX-License-Identifier: MIT
#include "tests/support/fixtures.h"

#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace fs = std::filesystem;

namespace pkgfs::test {

fs::path source_directory() { return PKGFS_SOURCE_DIR; }

fs::path fixtures() { return source_directory() / "tests/fixtures"; }

std::optional<fs::path> shared_fixtures() {
  const char* set = std::getenv("PKGFS_SHARED_FIXTURES");  // NOLINT(concurrency-mt-unsafe)
  const fs::path path = set != nullptr ? fs::path(set) : source_directory().parent_path() / "shared/fixtures";
  if (fs::is_directory(path)) {
    return path;
  }
  return std::nullopt;
}

std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    throw std::runtime_error("can't read " + path.string());
  }
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

nlohmann::ordered_json read_json(const fs::path& path) { return nlohmann::ordered_json::parse(read_text(path)); }

TempDir::TempDir() {
  std::string name = (fs::temp_directory_path() / "pkgfs-test-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) {
    throw std::runtime_error("mkdtemp " + name);
  }
  path_ = name;
}

TempDir::~TempDir() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

fs::path TempDir::write(const std::string& name, std::string_view content) const {
  const fs::path path = path_ / name;
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

struct CapturedLog::State {
  std::ostringstream text;
  std::shared_ptr<spdlog::logger> before = spdlog::default_logger();
};

CapturedLog::CapturedLog() : state_(std::make_unique<State>()) {
  auto logger =
      std::make_shared<spdlog::logger>("captured", std::make_shared<spdlog::sinks::ostream_sink_mt>(state_->text));
  logger->set_pattern("%l: %v");
  logger->set_level(spdlog::level::warn);
  spdlog::set_default_logger(logger);
}

CapturedLog::~CapturedLog() { spdlog::set_default_logger(state_->before); }

std::string CapturedLog::text() const { return state_->text.str(); }

}  // namespace pkgfs::test
