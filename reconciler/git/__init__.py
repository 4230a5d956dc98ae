"""The only place that runs git: reads trees and history, exports commits, and records state by compare-and-swap."""
