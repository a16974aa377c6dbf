// What a gate's scores decide: which of them let something run, and what each is worth after its activation.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

namespace dynbench {

// In the order of ACTIVATIONS in operators.py.
enum class Activation : int64_t { identity, relu, clamp, sigmoid };

inline float activated(Activation activation, float score) {
  switch (activation) {
    case Activation::relu: return std::max(score, 0.f);
    case Activation::clamp: return std::clamp(score, 0.f, 1.f);
    case Activation::sigmoid: return 1.f / (1.f + std::exp(-score));
    default: return score;
  }
}

// A score lets something run where it is above `above` after its activation and, if `top` is not negative, among the `top`
// largest; of equals, the first.
struct Decision {
  Activation activation;
  float above;
  int64_t top;
};

// The `top`-th largest of K scores.
inline float least_of_top(const float* score, int64_t K, int64_t top) {
  static thread_local std::vector<float> sorted;
  sorted.assign(score, score + K);
  for (float& s : sorted)
    if (std::isnan(s)) s = -std::numeric_limits<float>::infinity();  // it has no place in an order
  std::nth_element(sorted.begin(), sorted.begin() + (top - 1), sorted.end(), std::greater<float>());
  return sorted[top - 1];
}

// Calls use(k, value) for each of the K scores that lets something run, with its value after the activation.
template <typename Use>
void each_running(const Decision& d, const float* score, int64_t K, const Use& use) {
  const auto judge = [&](int64_t k) {
    const float value = activated(d.activation, score[k]);
    if (value > d.above) use(k, value);
  };
  if (d.top < 0 || d.top >= K) {
    for (int64_t k = 0; k < K; k++) judge(k);
    return;
  }
  if (d.top == 0) return;
  const float least = least_of_top(score, K, d.top);
  int64_t equals = d.top - std::count_if(score, score + K, [&](float s) { return s > least; });
  for (int64_t k = 0; k < K; k++)
    if (score[k] > least || (score[k] == least && equals-- > 0)) judge(k);
}

}  // namespace dynbench
