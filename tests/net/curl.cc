// SPDX-License-Identifier: MIT
#include "tests/net/curl.h"

#include <algorithm>
#include <sstream>

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace pkgfs::test {

std::string Reply::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? std::string() : found->second;
}

Json Reply::json() const {
  if (!Json::accept(body)) {
    ADD_FAILURE() << "not JSON: " << describe();
    return {};
  }
  return Json::parse(body);
}

std::string Reply::describe() const {
  return "curl " + std::to_string(exit_code) + ", status " + std::to_string(status) + " " + error +
         body.substr(0, 2000);
}

Reply curl(const Arguments& arguments) {
  const TempDir directory;
  const fs::path head = directory.path() / "head";
  const fs::path body = directory.path() / "body";
  Arguments all = {"curl", "-q", "-sS", "--noproxy", "*", "--speed-time", "2", "--speed-limit",
                   "1",    "-D", head,  "-o",        body};
  all.insert(all.end(), arguments.begin(), arguments.end());
  const ProcessResult result = run(all);
  Reply reply{.exit_code = result.exit_code, .headers = {}, .body = {}, .error = result.err};
  if (fs::exists(body)) {
    reply.body = read_text(body);
  }
  std::istringstream lines(fs::exists(head) ? read_text(head) : std::string());
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("HTTP/")) {
      reply.headers.clear();
      reply.status = std::stoi(line.substr(line.find(' ')));
    } else if (const std::size_t colon = line.find(": "); colon != std::string::npos) {
      std::string name = line.substr(0, colon);
      std::ranges::transform(name, name.begin(), [](unsigned char letter) { return std::tolower(letter); });
      reply.headers[name] = line.substr(colon + 2, line.find('\r') - colon - 2);
    }
  }
  return reply;
}

Reply post(const std::string& endpoint, const Json& body, const Arguments& more) {
  Arguments arguments = {endpoint, "-H", "Content-Type: application/json", "--data-binary", body.dump()};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return curl(arguments);
}

Reply ask(const std::string& endpoint, const std::string& query, const Arguments& more) {
  return post(endpoint, {{"query", query}}, more);
}

std::string by_name(const std::string& name) {
  return R"({
    getPackage(name: ")" +
         name + R"(") {
        packageName
        namespace
        versions {
          version
          isArchived
          v2: distribution(version: V2) {
            piritaDownloadUrl
            piritaSha256Hash
            webcManifest
          }
          v3: distribution(version: V3) {
            piritaDownloadUrl
            piritaSha256Hash
            webcManifest
          }
        }
    }
    info {
        defaultFrontend
    }
})";
}

std::string by_hash(const std::string& hash) {
  return R"({ getPackageRelease(hash: ")" + hash + R"(") { piritaManifest isArchived webcUrl } })";
}

int processes_alive(const std::vector<pid_t>& processes) {
  return static_cast<int>(std::ranges::count_if(processes, [](pid_t process) {
    const fs::path command = fs::path("/proc") / std::to_string(process) / "cmdline";
    return fs::exists(command) && !read_text(command).empty();
  }));
}

void RegistryTest::SetUp() {
  if (const std::string missing = registry_missing(); !missing.empty()) {
    GTEST_SKIP() << missing;
  }
}

}  // namespace pkgfs::test
