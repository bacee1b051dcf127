// PCM and float WAV files -> mono samples in [-1, 1], as groove/audio reads them.

#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

namespace wav {

struct Sound {
    std::vector<float> samples;
    uint32_t rate = 0;
};

inline uint32_t number(const std::vector<uint8_t>& bytes, size_t at, int n_bytes) {
    uint32_t value = 0;
    for (int i = 0; i < n_bytes; ++i) value |= uint32_t(bytes[at + i]) << (8 * i);
    return value;
}

inline float sample(const std::vector<uint8_t>& bytes, size_t at, int format, int bits) {
    if (format == 3) {
        float value;
        const uint32_t raw = number(bytes, at, 4);
        std::memcpy(&value, &raw, sizeof value);
        return value;
    }
    if (bits == 8) return (float(bytes[at]) - 128.0f) / 128.0f;
    const uint32_t raised = number(bytes, at, bits / 8) << (32 - bits);  // the sign to the top
    return float(double(int32_t(raised)) / 2147483648.0);
}

inline Sound read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error(path + ": cannot be opened");
    const std::vector<uint8_t> bytes((std::istreambuf_iterator<char>(file)), {});
    const auto is = [&](size_t at, const char* tag) {
        return at + 4 <= bytes.size() && std::memcmp(&bytes[at], tag, 4) == 0;
    };
    if (!is(0, "RIFF") || !is(8, "WAVE")) throw std::runtime_error(path + ": not a WAV file");

    int format = 0, channels = 0, bits = 0;
    Sound sound;
    for (size_t at = 12; at + 8 <= bytes.size();) {
        const size_t size = number(bytes, at + 4, 4), body = at + 8;
        if (is(at, "fmt ") && size >= 16 && body + size <= bytes.size()) {
            format = int(number(bytes, body, 2));
            channels = int(number(bytes, body + 2, 2));
            sound.rate = number(bytes, body + 4, 4);
            bits = int(number(bytes, body + 14, 2));
            if (format == 0xFFFE && size >= 40) format = int(number(bytes, body + 24, 2));
        } else if (is(at, "data")) {
            const bool pcm = format == 1 && (bits == 8 || bits == 16 || bits == 24 || bits == 32);
            if (channels < 1 || !(pcm || (format == 3 && bits == 32)))
                throw std::runtime_error(path + ": wanted PCM of 8 to 32 bits or 32-bit float");
            const size_t width = size_t(bits / 8), frame = width * size_t(channels);
            const size_t there = body + size <= bytes.size() ? size : bytes.size() - body;
            for (size_t i = 0; i + frame <= there; i += frame) {
                double sum = 0;
                for (int c = 0; c < channels; ++c)
                    sum += sample(bytes, body + i + width * size_t(c), format, bits);
                sound.samples.push_back(float(sum / channels));
            }
            return sound;
        }
        at = body + size + size % 2;
    }
    throw std::runtime_error(path + ": no sound in it");
}

}  // namespace wav
