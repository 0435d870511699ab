#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "data/disk.hpp"
#include "data/folder.hpp"
#include "files/support.hpp"

namespace outrigger::data::testing {

using TemporaryFolder = files::testing::Folder;
using Bytes = std::vector<std::uint8_t>;
/// The elements of u8 tensors by name.
using Values = std::map<std::string, Bytes>;

inline const std::function<void(std::size_t)> ignore_bytes = [](std::size_t) {};

/// A name whose tensor has a file to be written.
inline Item item(Memory& memory, const std::string& name, std::uint64_t version,
                 const Bytes& values) {
  const TensorType type{DType::u8, {static_cast<std::int64_t>(values.size())}};
  auto tensor = allocate_tensor(memory, type);
  if (!values.empty()) std::memcpy(tensor->data(), values.data(), values.size());
  Item out;
  out.entry.name = name;
  out.entry.version = version;
  out.entry.type = type;
  out.buffer = tensor->storage->buffer;
  out.elements = {tensor->data(), values.size()};
  return out;
}

/// A name whose file is one of the last checkpoint.
inline Item kept(const Folder& folder, const std::string& name) {
  for (const Entry& entry : folder.manifest().entries) {
    if (entry.name == name) return Item{entry};
  }
  ADD_FAILURE() << "no name " << name;
  return {};
}

/// The tensors of the last whole checkpoint, each byte of them checked.
inline Result<Values> load_all(const Folder& folder) {
  Memory memory;
  Values out;
  for (const Entry& entry : folder.manifest().entries) {
    OUTRIGGER_TRY(const Tensor tensor, folder.load(memory, entry));
    const auto* data = tensor.as<const std::uint8_t>();
    out.emplace(entry.name, Bytes(data, data + tensor.size()));
  }
  return out;
}

/// … of a folder that is opened for it, as a server does at its start.
inline Result<Values> reopened(const std::string& path) {
  OUTRIGGER_TRY(const auto folder, Folder::open(path));
  return load_all(*folder);
}

inline std::vector<std::string> names_in(const std::string& path) {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(path))
    out.push_back(entry.path().filename().string());
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace outrigger::data::testing
