"""Container images: in a registry of OCI's, each by its digest, with its marks in a small manifest beside it."""
