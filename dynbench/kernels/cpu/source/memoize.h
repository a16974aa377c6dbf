// What is worked out once a process for each key, such as the geometry of a convolution.
#pragma once

#include <map>
#include <memory>
#include <mutex>

namespace dynbench {

// The value of `key`, made by `make()` the first time; it stays where it is.
template <typename Value, typename Key, typename Make>
const Value& remembered(const Key& key, const Make& make) {
  static std::mutex lock;
  static std::map<Key, std::unique_ptr<Value>> made;
  const std::lock_guard<std::mutex> guard(lock);
  std::unique_ptr<Value>& value = made[key];
  if (!value) value = std::make_unique<Value>(make());
  return *value;
}

}  // namespace dynbench
