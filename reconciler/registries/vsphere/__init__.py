"""vSphere: templates in a folder of a vCenter, marked by custom attributes."""
