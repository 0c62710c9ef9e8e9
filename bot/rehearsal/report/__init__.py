"""One rehearsal as a page that anybody can open: `page.write_report`."""
