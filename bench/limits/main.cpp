// Answers requests on stdin as bench/peers/runner.py describes.

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>

#include "workloads.hpp"

namespace outrigger::bench {

namespace {

/// Reads version 1 of the format, as NumPy writes it.
Array read_npy(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  char start[10] = {};
  file.read(start, sizeof start);
  if (!file || std::memcmp(start, "\x93NUMPY\x01", 7) != 0)
    throw std::runtime_error("no npy: " + path);
  std::string header(
      static_cast<unsigned char>(start[8]) + 256U * static_cast<unsigned char>(start[9]), ' ');
  file.read(header.data(), static_cast<std::streamsize>(header.size()));
  const std::size_t type = header.find('\'', header.find("descr") + 6) + 1;
  std::string dims = header.substr(header.find('(') + 1);
  dims.resize(dims.find(')'));
  std::vector<std::int64_t> shape;
  std::istringstream words(dims);
  for (std::string word; std::getline(words, word, ',');) {
    if (word.find_first_of("0123456789") != std::string::npos) shape.push_back(std::stoll(word));
  }
  Array array(header.substr(type, 3), std::move(shape));
  file.read(array.as<char>(), static_cast<std::streamsize>(array.bytes()));
  if (!file) throw std::runtime_error("too short: " + path);
  return array;
}

template <typename T>
std::string check_of(const Array& array) {
  double sum = 0, weighted = 0, magnitude = 0;
  for (std::int64_t i = 0; i < array.size(); ++i) {
    const auto x = static_cast<double>(array.as<T>()[i]);
    sum += x;
    weighted += x * static_cast<double>(i % 1009 + 1) / 1009;
    magnitude += std::abs(x);
  }
  char text[128];
  std::snprintf(text, sizeof text, "{\"check\": [%.17g, %.17g, %.17g]}", sum, weighted, magnitude);
  return text;
}

std::string check(const Array* array) {
  if (array == nullptr) throw std::runtime_error("an index is outside");
  if (array->type() == "<f4") return check_of<float>(*array);
  if (array->type() == "<f8") return check_of<double>(*array);
  if (array->type() == "<i4") return check_of<std::int32_t>(*array);
  if (array->type() == "<u4") return check_of<std::uint32_t>(*array);
  return check_of<std::uint8_t>(*array);
}

std::vector<std::string> split(const std::string& line) {
  std::vector<std::string> words;
  std::istringstream stream(line);
  for (std::string word; std::getline(stream, word, '\t');) words.push_back(word);
  return words;
}

class Server {
 public:
  std::string answer(const std::vector<std::string>& words) {
    if (words.at(0) == "load") return load(words);
    const auto start = std::chrono::steady_clock::now();
    for (std::int64_t i = 0; i < calls_; ++i) step_();
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    return "{\"ms\": " + std::to_string(took.count() / static_cast<double>(calls_)) + "}";
  }

  Server() {
    add_elementwise(all_);
    add_reductions(all_);
    add_movement(all_);
    add_grids(all_);
    add_loops(all_);
    add_linear_algebra(all_);
  }

 private:
  std::string load(const std::vector<std::string>& words) {
    step_ = nullptr;
    inputs_.clear();
    const auto found = all_.find(words.at(1));
    if (found == all_.end()) return R"({"absent": "not written"})";
    for (std::size_t i = 4; i < words.size(); ++i) inputs_.push_back(read_npy(words[i]));
    calls_ = std::stoll(words.at(3));
    step_ = found->second(inputs_, std::stoll(words.at(2)));
    return check(step_());
  }

  Workloads all_;
  Inputs inputs_;
  Step step_;
  std::int64_t calls_ = 1;
};

}  // namespace
}  // namespace outrigger::bench

int main() {
  using namespace outrigger::bench;
  Server server;
  std::cout << R"({"runner": "limit", "version": "C++, OpenBLAS"})" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    std::string answer;
    try {
      answer = server.answer(split(line));
    } catch (const std::exception& error) {
      answer = std::string(R"({"absent": ")") + error.what() + "\"}";
    }
    std::cout << answer << std::endl;
  }
  return 0;
}
