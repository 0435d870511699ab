#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

/// The files of protocol/golden/frames/; its README describes them.
namespace outrigger::testing {

struct GoldenFrame {
  std::string name;  ///< name of the file without ".hex"
  /// The texts of "# key: text" lines.
  std::map<std::string, std::string> notes;
  std::string bytes;
};

inline GoldenFrame read_golden_frame(const std::filesystem::path& path) {
  GoldenFrame out{path.stem().string(), {}, {}};
  std::ifstream file(path);
  std::string word;
  while (file >> word) {
    if (word != "#") {
      out.bytes += static_cast<char>(std::stoi(word, nullptr, 16));
      continue;
    }
    std::string line;
    std::getline(file >> std::ws, line);
    if (const auto colon = line.find(": "); colon != std::string::npos) {
      out.notes.emplace(line.substr(0, colon), line.substr(colon + 2));
    }
  }
  return out;
}

/// `folder` is "good" or "bad".
inline std::vector<GoldenFrame> golden_frames(const std::string& folder) {
  const std::filesystem::path root = OUTRIGGER_SOURCE_DIR "/protocol/golden/frames";
  std::vector<GoldenFrame> out;
  for (const auto& entry : std::filesystem::directory_iterator(root / folder)) {
    if (entry.path().extension() == ".hex") out.push_back(read_golden_frame(entry.path()));
  }
  if (out.empty()) throw std::runtime_error("no golden frames in " + folder);
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return out;
}

}  // namespace outrigger::testing
