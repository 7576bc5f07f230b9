"""From a real PACS through the model and back to it, in headless Chromium."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.support.browser import PATIENCE, wait_for_photograph

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]


def test_a_study_comes_and_its_report_and_overlay_go_once(
    browser, server, pacs_file, orthanc, sample_images, dicom_of
):
    rgb = np.array(Image.open(sample_images / "phantom_mild_OS.jpg").convert("RGB"))
    photograph = dicom_of(rgb, PatientID="P-7", ImageLaterality="L", SOPInstanceUID="1.2.3.4")
    orthanc.rest("/instances", "POST", photograph)
    pacs_file.write_text(
        f'[servers.clinic]\nkind = "web"\nurl = "{orthanc.web}"\n'
        'user_env = "WEB_USER"\npassword_env = "WEB_PASSWORD"\n'
    )
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(server.url)
    page.get_by_role("button", name="From a PACS").click()
    page.get_by_label("Patient ID").fill("P-?")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("button", name="Fetch 1 study").click()
    wait_for_photograph(page, "20260101-1.2.3.4.dcm")
    page.get_by_role("link", name="Export").click()
    for _ in range(2):  # the second time nothing is sent
        page.get_by_role("button", name="Send", exact=True).click()
        page.get_by_text("2 of 2 documents in clinic").wait_for()
        page.get_by_role("button", name="Back to Export").click()
    context.close()
    found = [
        orthanc.rest(f"/instances/{one}/simplified-tags") for one in orthanc.rest("/instances")
    ]
    assert sorted(one["Modality"] for one in found) == ["OP", "OT", "SR"]
    assert {one["PatientID"] for one in found} == {"P-7"}
    assert len({one["StudyInstanceUID"] for one in found}) == 1
