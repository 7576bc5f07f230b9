"""Picture archives: echo, find, fetch and send through DICOM and DICOMweb, and a listener."""
